"""A thread that tells a store what a sweep's log says, from its own cursor, and never stops the sweep.

While the store is away the log grows and nothing is lost: the same events are told when it is back, by a later driver
or by `omsweep report NAME --sync`. What is told twice is there once (`omsweep.sinks.writes`).
"""

import contextlib
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from itertools import islice, takewhile
from pathlib import Path
from typing import Protocol

from omsweep.redaction import redacted
from omsweep.sinks.cursor import Cursor, in_log, run_id_of
from omsweep.sinks.front import Pace, shown
from omsweep.sinks.run_write import Write, joined
from omsweep.sinks.writes import TOLD, WHAT, told
from omsweep.store.events import DamagedLog, Event
from omsweep.store.lease import LeaseLost
from omsweep.store.log import LogReader, SweepLog
from omsweep.store.state import KINDS, SweepState, apply, fold
from omsweep.store.storage import Storage

LOOK_SECONDS, SAVE_SECONDS = 0.5, 2.0
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS, LONGEST_FLUSH_PAUSE_SECONDS = 1.0, 30.0, 2.0
EVENTS_AT_A_TIME, LONGEST_REASON = 2000, 200
QUICK = {"progress", *(KINDS.keys() - TOLD.keys())}
"""Kinds of events that go together: losses, and what has nothing to tell and may stand between them."""
Tell = Callable[[str | None, str], None]


class Store(Protocol):
    """Where a sweep is told; every method but `is_refusal` may raise what the store raises."""

    place: str
    copying: bool
    """Whether it copies a policy now, which takes as long as it takes."""

    def cursor(self) -> Cursor:
        """A cursor of this store that is at the log's beginning; connects first."""

    def open(self, state: SweepState, tell: Tell) -> None:
        """Hear which sweep it is, and whom to tell the ids of its runs (trial, or None, and id)."""

    def resume(self, runs: Mapping[str | None, str]) -> bool:
        """Go on with these runs; False where the sweep's own is gone."""

    def reconcile(self, state: SweepState, known: Callable[[str], bool]) -> None:
        """Delete runs that the log does not know, were told an event that is not `known` by mark, or are double."""

    def write(self, write: Write) -> list[Exception]:
        """Write, again if need be; what was refused is returned, whatever else goes wrong is raised."""

    def is_refusal(self, error: Exception) -> bool:
        """Whether a write that raised would raise again however often it is tried."""


class Follower:
    """Tells a store a sweep's log in a thread of its own; no method raises.

    Args:
        storage: of the sweep.
        store: to tell.
        folder: of the sweep, for the messages.
        warn: shows a line of text to the user: once when the store goes away, once when it is back, once for the first
            write that it refuses, and at the end for what could not be written. Called from the thread.
        log: is told run ids; None where nobody writes the log: then the cursor keeps them.
    """

    def __init__(
        self, storage: Storage, store: Store, folder: Path, warn: Callable[[str], None], log: SweepLog | None = None
    ) -> None:
        self._storage, self._store, self._folder, self._warn, self._log = storage, store, folder, warn, log
        self._reader = LogReader(storage)
        self._backlog: deque[Event] = deque()
        self._state = SweepState()
        self._cursor: Cursor | None = None
        self._saved: Cursor | None = None
        self._saved_at = 0.0
        self._runs: dict[str, str] = {}
        self._refused: Counter[str] = Counter()
        self._first_refused: int | None = None
        self._last: Event | None = None
        self._front = Pace()
        self._pause = 0.0
        self._ended = threading.Event()
        self._wake = threading.Event()
        self._changed = threading.Condition()
        self._asked = self._served = 0
        self._flushing = False
        self._thread = threading.Thread(target=self._follow, name="mlflow", daemon=True)

    def start(self) -> None:
        """Begin to follow the log; `stop` comes before the log is closed."""
        self._thread.start()

    def flush(self, timeout: float = 30.0) -> bool:
        """Wait until all that the log says now is told.

        Args:
            timeout: seconds in which nothing could be told, after which it gives up.

        Returns:
            Whether all is told; what the store refused counts as told.
        """
        with self._changed:
            self._asked += 1
            asked, self._flushing = self._asked, True
            self._wake.set()
            try:
                while self._served < asked:
                    if self._ended.is_set() or not (self._changed.wait(timeout) or self._store.copying):
                        return False
            finally:
                self._flushing = False
        return True

    def stop(self, timeout: float = 5.0) -> bool:
        """End the thread, and say what is not told; returns whether all is.

        Args:
            timeout: seconds to wait for a call that is under way.
        """
        self._ended.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(timeout)
        missing = self._missing()
        if missing:
            counts = ", ".join(f"{count} x {what}" for what, count in missing.items())
            self._warn(
                f"not written to MLflow at {self._store.place}: {counts}; all of it is in {self._folder}, and"
                f" `omsweep report {self._folder.name} --storage {self._folder.parent} --sync` writes it later"
            )
        return not missing

    def _missing(self) -> Counter[str]:
        """What is not told, by what it is called in messages; the thread reads no more."""
        left = list(self._backlog)
        with contextlib.suppress(OSError, DamagedLog):
            left += self._reader.new()
        return Counter(WHAT[event.kind] for event in left if event.kind in WHAT) + self._refused

    def _follow(self) -> None:
        while not self._ended.is_set():
            try:
                self._catch_up()
            except LeaseLost:
                break  # the driver that took over tells its own
            except DamagedLog as error:
                self._warn(f"MLflow at {self._store.place} is told no more: {error}")
                break
            except Exception as error:  # whatever it was, it is the store's and not the sweep's
                self._wait_for(error)
            limit = LONGEST_FLUSH_PAUSE_SECONDS if self._flushing else LONGEST_PAUSE_SECONDS
            self._wake.wait(min(self._pause, limit) or LOOK_SECONDS)
            self._wake.clear()
        self._ended.set()
        with self._changed:
            self._changed.notify_all()

    def _catch_up(self) -> None:
        """Tell all that the log says now."""
        asked = self._asked
        fresh = self._read()
        if fresh is None:
            return
        self._backlog += fresh
        if self._cursor is None:
            self._begin()
        if self._cursor is None or not self._save():
            return
        while self._backlog and not self._ended.is_set():
            self._tell_next()
            self._progressed()
            if time.monotonic() - self._saved_at > SAVE_SECONDS:
                self._save()
        if not self._backlog:
            self._show()
        if self._save() and not self._backlog:
            self._progressed(served=asked)

    def _show(self) -> None:
        """Tell the front where it is another one, not too often."""
        if self._last is None or not self._front.is_due(self._state):
            return
        refused: list[Exception] = []
        with self._front.telling(self._state):
            try:
                for write in shown(self._state, self._folder, self._last):
                    refused += self._store.write(write)
            except (ValueError, LookupError, TypeError) as error:  # a sweep that this version cannot draw
                refused.append(error)
        if refused:
            self._warn(f"MLflow at {self._store.place} has not the whole front: {_reason(refused[0])}")

    def _read(self) -> Sequence[Event] | None:
        """Events since the last time; None where the storage cannot be read, which is the driver's to say."""
        try:
            return self._reader.new()
        except OSError:
            return None

    def _begin(self) -> None:
        """Go on from the cursor where log and store are still those that it is of, else from the log's beginning."""
        events = list(self._backlog)
        state = fold(events)
        if not state.created:
            return
        cursor, former = self._store.cursor(), Cursor.read(self._storage)
        self._store.open(state, self._tell)
        if former is not None and former.same_store(cursor) and in_log(former.ahead, events):
            own = {trial_id or None: run_id for trial_id, run_id in former.runs.items()}
            known = {**{whose: run_id_of(state, whose) for whose in (None, *state.trials)}, **own}
            if self._store.resume({whose: run_id for whose, run_id in known.items() if run_id is not None}):
                cursor = former
                for whose, run_id in own.items():
                    self._tell(whose, run_id)
        if cursor is not former:
            self._store.reconcile(state, lambda mark: in_log(mark, events))
        self._state = fold(events[: cursor.seq])
        self._last = events[cursor.seq - 1] if cursor.seq else None
        self._front = Pace(cursor.front)
        self._backlog = deque(events[cursor.seq :])
        self._cursor = cursor

    def _tell(self, trial_id: str | None, run_id: str) -> None:
        """Have the log know a run's id, or the cursor where it cannot."""
        if self._log is None:
            self._runs[trial_id or ""] = run_id
        elif run_id_of(self._log.state, trial_id) != run_id and not self._ended.is_set():
            self._log.append("tracked", trial_id=trial_id, sync=False, run_id=run_id)

    def _tell_next(self) -> None:
        """Tell the first event of the backlog, or as many as are losses of trials or have nothing to tell."""
        if self._log is not None:
            self._log.check()
        losses = takewhile(lambda event: event.kind in QUICK, islice(self._backlog, EVENTS_AT_A_TIME))
        unit = list(losses) or [self._backlog[0]]
        after = self._state
        writes: list[Write] = []
        refusals: list[Exception] = []
        for event in unit:
            before, after = after, apply(after, event)
            try:
                writes += told(before, after, event)
            except (ValueError, LookupError, TypeError) as error:  # an event that this version cannot show
                refusals.append(error)
        for write in joined(writes) if len(unit) > 1 else writes:
            refusals += self._store.write(write)
        for _ in unit:
            self._backlog.popleft()
        self._state, self._last = after, unit[-1]
        for refusal in refusals:
            self._refuse(next(event for event in unit if event.kind in WHAT), refusal)

    def _save(self) -> bool:
        """Keep the cursor: up to which event all is told, and up to which it may be. False where it cannot be kept."""
        assert self._cursor is not None, "it begins first"
        last = self._backlog[-1] if self._backlog else None
        seq = self._state.seq if self._first_refused is None else self._first_refused - 1
        self._cursor = self._cursor.moved(seq, ahead=last, runs=self._runs, front=self._front.told)
        try:
            if self._cursor != self._saved:
                self._cursor.write(self._storage)
        except OSError:
            return False
        self._saved, self._saved_at = self._cursor, time.monotonic()
        return True

    def _progressed(self, served: int = 0) -> None:
        if self._pause:
            self._pause = 0.0
            self._warn(f"MLflow at {self._store.place} can be written again")
        with self._changed:
            self._served = max(self._served, served)
            self._changed.notify_all()

    def _refuse(self, event: Event, error: Exception) -> None:
        what = WHAT[event.kind]
        if not self._refused:
            self._warn(f"MLflow at {self._store.place} refused {what}: {_reason(error)}; {self._goes_on()}")
        self._refused[what] += 1
        self._first_refused = min(event.seq, self._first_refused or event.seq)

    def _wait_for(self, error: Exception) -> None:
        if not self._pause:
            what = next((WHAT[event.kind] for event in self._backlog if event.kind in WHAT), "runs")
            text = f"MLflow at {self._store.place} cannot be written ({what}): {_reason(error)}; "
            self._warn(text + self._goes_on() + "; what is missing there is written when it is back")
        self._pause = min(max(2 * self._pause, FIRST_PAUSE_SECONDS), LONGEST_PAUSE_SECONDS)

    def _goes_on(self) -> str:
        return f"the sweep goes on, its results are safe in {self._folder}"


def _reason(error: Exception) -> str:
    text = redacted(" ".join(str(error).split())) or type(error).__name__
    return text if len(text) <= LONGEST_REASON else text[:LONGEST_REASON] + " ..."
