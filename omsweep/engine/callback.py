"""What the queue is told of Tune's trials: that an attempt runs, how it ended, that its process died."""

import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from omsweep.engine.failures import failed
from omsweep.engine.memory_kill import memory_kill_message
from omsweep.plan.attempts import Job, TrialQueue
from omsweep.store.records import Outcome, TrialSpec
from omsweep.trial.progress import Place


class TuneEvents(tune.Callback):
    """Tells the queue; runs in the driver, one event at a time.

    What goes wrong in here ends the sweep: Tune would take it for an error of the trial, so it is kept, and raised
    where a step of Tune's ends and by `check`.

    Args:
        queue: of the sweep.
    """

    def __init__(self, queue: TrialQueue) -> None:
        self._queue = queue
        self._hung: dict[str, str] = {}
        self.broken: BaseException | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune pickles its callbacks for a restore of its own, and this one belongs to the living driver."""
        return {}

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """An attempt runs."""
        job = Job(TrialSpec(**trial.config["spec"]), trial.config["attempt"])
        self._told(self._queue.start, job)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """What an attempt reported at its end; one that ended after a report of where it was has lost its process."""
        told = trial.last_result.get("outcome")
        self._end(trial, lost(trial) if told is None else Outcome.model_validate_json(told))

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """An attempt whose process died before it could report."""
        self._end(trial, lost(trial))

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """End the sweep where something went wrong."""
        self.check()

    def check(self) -> None:
        """Raise what went wrong in the driver's own hands."""
        if self.broken is not None:
            raise self.broken

    def kill(self, trial_id: str, place: Place, why: str) -> None:
        """Kill an attempt's process where it runs, as one that hangs: a stopped one reacts to nothing else."""
        if trial_id not in self._hung:
            self._hung[trial_id] = why
            on_its_node = NodeAffinitySchedulingStrategy(node_id=place.node, soft=False)
            ray.remote(_kill_process).options(num_cpus=0, scheduling_strategy=on_its_node).remote(place.pid)

    def _end(self, trial: Any, outcome: Outcome) -> None:
        trial_id = trial.config["spec"]["trial_id"]
        why = self._hung.pop(trial_id, None)
        if why is not None and outcome.reason == "process lost":
            outcome = outcome.model_copy(update={"reason": "hung", "error": f"hung: {why}"})
        self._told(self._queue.end, trial_id, outcome)

    def _told(self, call: Any, *given: Any) -> None:
        try:
            if self.broken is None:
                call(*given)
        except BaseException as error:
            self.broken = error


def lost(trial: Any) -> Outcome:
    """The outcome of a process that died, from what Tune kept of its death."""
    with suppress(Exception):  # whatever it was, the text says it too
        error = trial.get_pickled_error()
        if error is not None:
            return failed(error)
    kept = getattr(trial, "error_file", None)
    text = Path(kept).read_text().strip() if kept and Path(kept).is_file() else ""
    if (killed := memory_kill_message(text)) is not None:
        return Outcome(state="failed", reason="out of memory", error=killed, traceback=text)
    line = text.splitlines()[-1] if text else "the trial's process died without a message"
    return Outcome(state="failed", reason="process lost", error=line, traceback=text or None)


def _kill_process(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
