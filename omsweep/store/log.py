"""A sweep's log: open for its one writer, and as others read it."""

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Self

from omsweep.store.events import DamagedLog, Event, decode, encode, scan
from omsweep.store.lease import Lease
from omsweep.store.state import SweepState, apply, fold
from omsweep.store.storage import FULL, Storage, StorageAway

PAUSE_SECONDS = 5.0
"""Between two tries to write where there is no room or no answer."""
DAMAGED_COPY = "events.damaged-{seconds:.0f}.jsonl"


class SweepLog:
    """The log in the hands of the driver that holds the sweep's lease; every method may be called from any thread.

    Args:
        storage: of the sweep.
        lease: held.
        state: what the log adds up to.
        say: is told when the storage is full or away and when it takes events again.
    """

    def __init__(self, storage: Storage, lease: Lease, state: SweepState, say: Callable[[str], None]) -> None:
        self.storage = storage
        self.state = state
        self._lease = lease
        self._say = say
        self.lock = threading.RLock()
        """Held by every method; hold it to look at the state and append as one."""
        self._clock = time.time

    @classmethod
    def open(cls, storage: Storage, *, say: Callable[[str], None] = lambda text: None, repair: bool = False) -> Self:
        """Take the lease and read the log; a torn end is cut off.

        Args:
            storage: of the sweep.
            say: is told what is waited for and what was repaired.
            repair: leave out damaged lines, of which a copy is kept, where a log would be refused for them.

        Raises:
            LeaseHeld: another driver runs the sweep.
            DamagedLog: lines in the middle are gone or changed; the message says which.
            NewerLog: a newer omsweep wrote it.
        """
        lease = Lease.take(storage, say=say)
        try:
            text = storage.open_log()
            found = scan(text)
            if found.damage and not repair:
                raise DamagedLog(_damaged(found.damage))
            if found.damage:
                storage.write(DAMAGED_COPY.format(seconds=time.time()), text)
                say(f"repaired the log, a copy of the damaged one is beside it: {'; '.join(found.damage[:3])}")
            elif found.end < len(text):
                say(
                    f"the last driver ended while it wrote an event: {len(text) - found.end} bytes were cut off the log"
                )
            events = _counted_anew(found.events) if found.damage else found.events
            if found.damage or found.end < len(text) or not lease.was_released:
                storage.rewrite(b"".join(map(encode, events)) if found.damage else text[: found.end])
        except BaseException:
            storage.close()
            lease.release()
            raise
        return cls(storage, lease, fold(events), say)

    def append(
        self, kind: str, *, trial_id: str | None = None, attempt: int | None = None, sync: bool = True, **data: Any
    ) -> Event:
        """Add an event, on the disk when this returns; while the storage is full or away it waits.

        Args:
            kind: one of `omsweep.store.state.KINDS`.
            trial_id, attempt: whose it is.
            sync: False for what may be lost in a power cut.
            data: what else it says.

        Returns:
            The event as a reader finds it: plain data.

        Raises:
            LeaseLost: another driver has taken the sweep over and may not know of this event, or the log was closed.
            ValueError: data that JSON cannot hold.
        """
        with self.lock:
            state = self.state
            event = Event(
                seq=state.seq + 1,
                epoch=self._lease.epoch,
                time=max(self._clock(), state.time),
                kind=kind,
                trial_id=trial_id,
                attempt=attempt,
                data=data,
            )
            line = encode(event)
            event = decode(line[:-1])
            after = apply(state, event)  # before it is written: what does not fold is not an event
            self.patiently(lambda: self._write(line, sync))
            self.state = after  # whatever comes: its number is taken
            self.patiently(self._lease.check)  # who takes over from here on reads the line
            return event

    @property
    def epoch(self) -> int:
        """Of the lease."""
        return self._lease.epoch

    def check(self) -> None:
        """Raise LeaseLost where another driver has taken over, or the log was closed."""
        self._lease.check()

    def close(self) -> None:
        """Give the lease back."""
        with self.lock:
            try:
                self.storage.close()
            finally:
                self._lease.release()

    def patiently(self, act: Callable[[], object]) -> None:
        """Do what needs the storage; where that is full or away, say so, wait and do it again."""
        waits = False
        while True:
            try:
                act()
                break
            except OSError as error:
                if not isinstance(error, StorageAway) and error.errno not in FULL:
                    raise
                if not waits:
                    self._say(f"{error.strerror}: the sweep waits until its storage takes events again")
                waits = True
                time.sleep(PAUSE_SECONDS)
        if waits:
            self._say("the storage takes events again, the sweep goes on")

    def _write(self, line: bytes, sync: bool) -> None:
        self._lease.check()
        self.storage.append(line, sync=sync)


class LogReader:
    """Reads a log that is being written, from a position on.

    Args:
        storage: of the sweep.
        after: `seq` of the last event that is known; those up to it are passed over.
    """

    def __init__(self, storage: Storage, after: int = 0) -> None:
        self._storage = storage
        self._after = after
        self._epoch = 0
        self._position = 0
        self._seen = 0

    def new(self) -> Sequence[Event]:
        """Events since the last call; a line that is not complete yet waits.

        Raises:
            DamagedLog: lines in the middle are gone or changed.
        """
        text, after = self._storage.events_from(self._position)
        found = scan(text, after=self._seen, epoch=self._epoch)
        if found.damage and self._position:  # the log was cut or repaired since: read it anew
            self._position, self._seen, self._epoch = 0, 0, 0
            return self.new()
        if found.damage:
            raise DamagedLog(_damaged(found.damage))
        if found.end == len(text):  # else what is not complete is read again
            self._position = after
        if found.events:
            self._seen, self._epoch = found.events[-1].seq, found.events[-1].epoch
        fresh = [event for event in found.events if event.seq > self._after]
        self._after = max(self._after, self._seen)
        return fresh


def read_state(storage: Storage) -> SweepState:
    """What a log adds up to; `SweepState()` where there is none. Raises DamagedLog."""
    return fold(LogReader(storage).new())


def _damaged(damage: Sequence[str]) -> str:
    more = f" and {len(damage) - 1} more" if len(damage) > 1 else ""
    return f"the log is damaged: {damage[0]}{more}; `omsweep run ... --repair` goes on without these events"


def _counted_anew(events: Sequence[Event]) -> Sequence[Event]:
    return [event._replace(seq=number) for number, event in enumerate(events, start=1)]
