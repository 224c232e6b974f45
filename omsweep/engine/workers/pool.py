"""The worker groups of one sweep: made where a job needs one, given out again, ended where others need the room."""

import os
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from itertools import count
from typing import Any, NamedTuple

import ray
from ray.exceptions import RayError

from omsweep.engine.placement import BESIDE_WORKERS, Worker
from omsweep.engine.workers.group import Group, WorkerGroup

IDLE_SECONDS = 300.0
"""A group that has had nothing to do for so long is ended."""
ANSWER_SECONDS, END_SECONDS = 5.0, 10.0
"""How long a group may take to say how it is, and to end, before it is killed."""


class Started(NamedTuple):
    """A group that was started.

    Attributes:
        name: of its actor, in the job's namespace.
        worker: what each of its workers occupies, and how many there are.
        actor: handle of its actor.
        since: when it was last given back, on the pool's clock.
    """

    name: str
    worker: Worker
    actor: Any
    since: float = 0.0

    def kill(self) -> None:
        """End it at once, with its workers."""
        with suppress(RayError):
            ray.kill(self.actor)


def start(name: str, group: Group, worker: Worker, storage: str) -> Started:
    """Start a group under `backend: train`, without waiting for it.

    Args:
        name: of the group.
        group: how trials run.
        worker: what each worker occupies, and how many there are.
        storage: folder for what Ray Train notes of its runs.
    """
    address = {name: os.environ[name] for name in ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS") if name in os.environ}
    actor = ray.remote(WorkerGroup).options(
        name=name,
        max_concurrency=8 + 2 * worker.count,  # every worker, the trial and the driver may wait at the same time
        runtime_env={"env_vars": address},
        num_cpus=0,
        resources=BESIDE_WORKERS,
        scheduling_strategy="DEFAULT",  # else one that a Tune trial starts would have to fit into that trial's place
    )
    return Started(name, worker, actor.remote(name, group, worker, storage))


class Pool:
    """Groups by what their workers occupy.

    Args:
        group: how trials run.
        name: what names of groups begin with.
        storage: folder for what Ray Train notes of their runs.
        clock: seconds.
    """

    def __init__(self, group: Group, name: str, storage: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._group, self._name, self._storage, self._clock = group, name, storage, clock
        self._numbers = count(1)
        self._idle: list[Started] = []
        self._busy: dict[str, Started] = {}
        self._ending: list[tuple[Any, Started]] = []

    def take(self, worker: Worker, *, keep_idle: bool = False) -> Started:
        """A group of such workers: an idle one, else a new one, for which idle ones end unless `keep_idle`."""
        found = next((one for one in self._idle if one.worker == worker), None)
        if found is not None:
            self._idle.remove(found)
        else:
            if not keep_idle:
                self.end_idle()
            found = start(f"{self._name}-workers-{next(self._numbers)}", self._group, worker, self._storage)
        self._busy[found.name] = found
        return found

    def give_back(self, name: str, *, whole: bool) -> None:
        """Take a group back: it waits for the next job, or ends where it is worn; it is killed unless `whole`."""
        group = self._busy.pop(name, None)
        if group is None:
            return
        try:
            worn = ray.get(group.actor.worn.remote(), timeout=ANSWER_SECONDS) if whole else None
        except RayError:
            worn = None
        if worn is None:
            group.kill()
        elif worn:
            self._end(group)
        else:
            self._idle.append(group._replace(since=self._clock()))

    @property
    def idle(self) -> list[Worker]:
        """What the workers of each idle group occupy."""
        return [one.worker for one in self._idle]

    def displaces(self, worker: Worker, wanted: Iterable[Worker]) -> bool:
        """Whether a group for this would end an idle one that others still want."""
        return worker not in self.idle and any(one in self.idle for one in wanted)

    def end_old(self) -> None:
        """End groups that have been idle for long."""
        self._end_all([one for one in self._idle if self._clock() - one.since > IDLE_SECONDS])

    def end_idle(self) -> None:
        """End all that are idle; their room is free soon."""
        self._end_all(list(self._idle))

    def close(self) -> None:
        """End all, and wait for that; what does not end in time, or still works, is killed."""
        for group in self._busy.values():
            group.kill()
        self._busy.clear()
        self.end_idle()
        if self._ending:
            ray.wait([ended for ended, _ in self._ending], num_returns=len(self._ending), timeout=END_SECONDS)
            for _, group in self._ending:
                group.kill()
        self._ending.clear()

    def _end_all(self, groups: Iterable[Started]) -> None:
        for group in groups:
            self._idle.remove(group)
            self._end(group)

    def _end(self, group: Started) -> None:
        self._ending.append((group.actor.end.remote(), group))
