"""The log of a job, passed on until the job ends, through connections that drop."""

import asyncio
import time
from collections.abc import Callable
from contextlib import aclosing

import aiohttp
from ray.job_submission import JobStatus

from omsweep.cluster.dashboard import POLL_SECONDS, Dashboard

QUIET_SECONDS = 60.0
"""A log that says nothing for so long is asked for again: the connection may be gone without a word."""
TELL_SECONDS, LONG_SECONDS, LONGEST_SECONDS = 10.0, 120.0, 3600.0
"""Without an answer, after how long that is said, how to look again is said, and nobody waits any more."""
LONGEST_PAUSE = 30.0
LAST_TRIES = 3
"""At the end of the log of a job that has ended, where the log's node may be gone."""
UNKNOWN = "status code 404"


def follow(
    client: Dashboard, job_id: str, write: Callable[[str], None], say: Callable[[str], None], *, again: str = ""
) -> JobStatus:
    """Pass on a job's log as it grows until the job ends; returns how it ended.

    A connection that drops is taken up again after what was already written.

    Args:
        client, job_id: which job.
        write: is given its log.
        say: is told how long nothing was heard of the cluster.
        again: the commands that look at the job later.

    Raises:
        OSError, RuntimeError, AuthenticationError: no answer for `LONGEST_SECONDS`, or what time does not mend: the
            token is wrong, the cluster does not know the job.
    """
    written, contact, tries = 0, _Contact(client.get_address(), say, again), LAST_TRIES

    def count(chunk: str) -> None:
        nonlocal written
        write(chunk)
        written += len(chunk)

    while True:
        whole = True
        try:
            asyncio.run(_tail(client, job_id, count, skip=written))
        except (OSError, RuntimeError, aiohttp.ClientError):
            whole = False  # of the cluster, or of the log alone: the next question tells
        try:
            status = client.get_job_status(job_id)
        except (OSError, RuntimeError) as error:
            contact.lost(error)
        else:
            contact.there()
            if status.is_terminal():
                if whole or not tries:
                    return status
                tries -= 1
        time.sleep(contact.pause)


class _Contact:
    """How long a cluster has not answered: that is said when it is long, and how long to pause before the next try."""

    def __init__(self, address: str, say: Callable[[str], None], again: str) -> None:
        self._texts = {
            TELL_SECONDS: f"no answer from {address}: trying again; Ctrl-C detaches, the job goes on",
            LONG_SECONDS: f"still no answer after {LONG_SECONDS:.0f} s. The job may go on; to look later:\n{again}",
        }
        self._back = f"{address} answers again"
        self._say = say
        self._since: float | None = None
        self._told: set[float] = set()
        self.pause = POLL_SECONDS

    def there(self) -> None:
        """It answered."""
        if self._told:
            self._say(self._back)
        self._since, self._told, self.pause = None, set(), POLL_SECONDS

    def lost(self, error: Exception) -> None:
        """It did not; raises the error where time will not mend it."""
        self._since = self._since or time.monotonic()
        silent = time.monotonic() - self._since
        if silent > LONGEST_SECONDS or UNKNOWN in str(error):
            raise error
        for limit in {one for one in self._texts if one <= silent} - self._told:
            self._told.add(limit)
            self._say(self._texts[limit])
        self.pause = min(2 * self.pause, LONGEST_PAUSE)


async def _tail(client: Dashboard, job_id: str, write: Callable[[str], None], *, skip: int) -> None:
    """Write the log from character `skip` on, until it ends or is quiet; Ray always sends it from the start."""
    async with aclosing(client.tail_job_logs(job_id)) as chunks:
        while True:
            try:
                chunk = await asyncio.wait_for(anext(chunks), QUIET_SECONDS)
            except (StopAsyncIteration, TimeoutError):
                return
            if skip < len(chunk):
                write(chunk[skip:])
            skip = max(0, skip - len(chunk))
