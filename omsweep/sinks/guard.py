"""The tracker as a sweep uses it: a store that fails costs its own entries, never a trial or the sweep.

What cannot be written waits in memory, in order, and is tried again with the next write, after a pause that grows while
the store stays away. Results do not depend on it: each is in the sweep's folder before it is written here.
"""

import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from omsweep.redaction import redacted
from omsweep.sinks.mlflow import Tracker, is_refusal
from omsweep.store.records import TrialRecord, TrialSpec

FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 5.0, 300.0
PAUSE_PER_ATTEMPT = 10.0
"""Trying takes at most one part in so many of a sweep's time while the store is away."""
LONGEST_REASON = 200


class GuardedTracker:
    """A tracker whose methods never raise; see `omsweep.sinks.mlflow.Tracker` for what they write.

    Args:
        tracker: connected to the store.
        results: folder that holds what is tracked, for the messages.
        warn: shows a line of text to the user; called once when the store goes away, once when it is back, once for the
            first write that the store refuses, and at the end for what could not be written.
        clock: seconds, for the pauses.
    """

    def __init__(
        self, tracker: Tracker, results: Path, warn: Callable[[str], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._tracker = tracker
        self._results = results
        self._warn = warn
        self._clock = clock
        self._waiting: deque[tuple[str, Callable[[], object]]] = deque()
        self._refused: list[str] = []
        self._pause = 0.0
        self._try_from = 0.0

    def start_sweep(self, params: Mapping[str, Any], tags: Mapping[str, Any]) -> None:
        """Start the parent run."""
        self._write("the sweep's start", lambda: self._tracker.start_sweep(params, tags))

    def start_trial(self, spec: TrialSpec) -> None:
        """Start a trial's run."""
        self._write("starts of trials", lambda: self._tracker.start_trial(spec))

    def open_run(self, trial_id: str) -> str | None:
        """The run of a trial that has started and not ended; None where the store could not be reached so far."""
        return self._tracker.open_run(trial_id)

    def end_trial(
        self, record: TrialRecord, reference_scores: Mapping[str, float | None], losses: Sequence[float | None]
    ) -> None:
        """End a trial's run with its training curve and results."""
        self._write("results of trials", lambda: self._tracker.end_trial(record, reference_scores, losses))

    def log_hypervolume(self, per_family: Mapping[str, float], step: int) -> None:
        """Log the hypervolumes after `step` trials."""
        self._write("hypervolumes", lambda: self._tracker.log_hypervolume(per_family, step))

    def finish(self, state: str) -> None:
        """Log the files of the sweep's folder, end its run, and say what could not be written."""
        self._waiting.append(("the sweep's files", lambda: self._tracker.log_artifacts(self._results)))
        self._waiting.append(("the sweep's end", lambda: self._tracker.finish(state)))
        self._try_from = 0.0
        self._flush()
        missing = Counter([*self._refused, *(what for what, _ in self._waiting)])
        if missing:
            counts = ", ".join(f"{count} x {what}" for what, count in missing.items())
            self._warn(f"not written to MLflow at {self._tracker.place}: {counts}; all of it is in {self._results}")

    def _write(self, what: str, call: Callable[[], object]) -> None:
        self._waiting.append((what, call))
        self._flush()

    def _flush(self) -> None:
        """Make the writes that wait, in order, up to the first that the store cannot take now."""
        while self._waiting and (begun := self._clock()) >= self._try_from:
            what, call = self._waiting[0]
            try:
                call()
            except Exception as error:  # whatever it was, it is MLflow's and not the sweep's
                if is_refusal(error):
                    self._drop(what, error)
                else:
                    self._wait(what, error, took=self._clock() - begun)
                    return
            self._waiting.popleft()
            if self._pause:
                self._pause = 0.0
                self._warn(f"MLflow at {self._tracker.place} can be written again")

    def _drop(self, what: str, error: Exception) -> None:
        self._refused.append(what)
        if len(self._refused) == 1:
            self._warn(f"MLflow at {self._tracker.place} refused {what}: {self._reason(error)}; {self._goes_on()}")

    def _wait(self, what: str, error: Exception, took: float) -> None:
        if not self._pause:
            text = f"MLflow at {self._tracker.place} cannot be written ({what}): {self._reason(error)}; "
            self._warn(text + self._goes_on() + "; what is missing there is tried again later")
        grown = min(max(2 * self._pause, FIRST_PAUSE_SECONDS), LONGEST_PAUSE_SECONDS)
        self._pause = max(grown, PAUSE_PER_ATTEMPT * took)
        self._try_from = self._clock() + self._pause

    def _goes_on(self) -> str:
        return f"the sweep goes on, its results are safe in {self._results}"

    def _reason(self, error: Exception) -> str:
        text = redacted(" ".join(str(error).split())) or type(error).__name__
        return text if len(text) <= LONGEST_REASON else text[:LONGEST_REASON] + " ..."
