"""An attempt at a trial as Ray Tune sees it: an actor that hands a group of workers its job and tells Tune of it.

Under `train` the actor holds nothing that a worker needs, and only waits; under `inprocess` it is the group's worker.
"""

import json
import math
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow
import ray
from ray import tune
from ray.exceptions import RayError

from omsweep.align.settings import train_settings_from
from omsweep.engine.failures import failed
from omsweep.engine.placement import Worker
from omsweep.engine.workers.group import Errand, OwnErrand, WorkerGroup, trial_job
from omsweep.store.records import SHOWN, Outcome, Part, Prepared, TrialSpec
from omsweep.strict_json import plain
from omsweep.trial.progress import SECONDS, Losses, progress_file, read_losses

METRICS = tuple(name for name, shown in SHOWN.items() if shown.mlflow == "metric" and name != "steps")
PHASES = ("start", "pilot", "train", "evaluate")
"""Of a trial's `seconds`."""
QUIET_SECONDS = 30.0
"""Tune hears of an attempt at least so often, whatever it does."""


class Attempt:
    """A trial's job in a group of workers, from its start to its end, as rows for Tune.

    Args:
        spec: the trial.
        prepared: of its SFT model.
        folder: the sweep's, or the trial's own.
        group: handle of the group's actor (`omsweep.engine.workers.group.WorkerGroup`), which may still be starting; or
            a group without one, in this process.
        attempt: at this trial, counted from 1; a later one goes on from the last checkpoint.
        part: see `omsweep.trial.session.run_session`.
    """

    def __init__(
        self, spec: TrialSpec, prepared: Prepared, folder: Path, group: Any, *, attempt: int, part: Part = "whole"
    ) -> None:
        self.passes = passes_a_step(spec, prepared)
        self._progress = progress_file(folder, spec.trial_id)
        # what a former attempt wrote
        self._position = self._progress.stat().st_size if self._progress.is_file() else 0
        self._seen = Outcome(state="stopped")
        job = trial_job(spec, prepared, folder, attempt=attempt, started=time.time(), part=part)
        self._errand = OwnErrand(group, job) if isinstance(group, WorkerGroup) else Errand(group, job)
        self._at_rung = False
        self.outcome: Outcome | None = None

    def row(self) -> dict[str, Any]:
        """The next row: where training is, about every second; what a rung gave; how it ended, then `outcome` is set.

        Whatever raises is the outcome of a trial that failed, so that a sweep goes on and a search is told.
        """
        quiet_until = time.monotonic() + QUIET_SECONDS
        try:
            if self._at_rung:
                self._at_rung = False
                self._errand.go_on()
            while time.monotonic() < quiet_until:
                news = self._errand.news(SECONDS)
                if news is not None and news.answer is not None:
                    return self._ended(Outcome(**news.answer))
                if news is not None:
                    return self._reached(news.rung)
                if self._losses():
                    break
        except RayError as error:
            return self._ended(_lost(error))
        return {**flat(self._seen, self.passes), "state": "running"}

    def leave(self) -> None:
        """Wait no longer; a trial that has not ended is given up."""
        if self.outcome is None:
            self._errand.abandon()

    def _losses(self) -> bool:
        """Whether training has come further; it is read where rank 0 writes it for the driver anyway."""
        found: list[Losses] = []
        with suppress(OSError):  # a storage that is away for a moment
            found, self._position = read_losses(self._progress, self._position)
        if found:
            last = found[-1]
            step = last.first_step + len(last.losses) - 1
            self._seen = Outcome(state="stopped", steps=step, losses=(last.losses[-1],))
        return bool(found)

    def _reached(self, found: Mapping[str, Any]) -> dict[str, Any]:
        """A row with the numbers at a rung, and all that is known there: Tune may stop the trial on it."""
        self._at_rung = True
        outcome = Outcome(**found["outcome"])
        told = {"outcome": outcome.model_dump_json(), "rung": json.dumps(plain(found["rung"]))}
        return {**flat(outcome, self.passes), "state": "running", **told}

    def _ended(self, outcome: Outcome) -> dict[str, Any]:
        self.outcome = outcome
        return flat(outcome, self.passes)


class Trial(tune.Trainable):
    """What Tune's trials of ours have in common: they keep checkpoints of their own, and Tune none."""

    def save_checkpoint(self, checkpoint_dir: str) -> dict[str, Any]:
        """Nothing: a trial goes on from the last checkpoint in its folder."""
        return {}

    def load_checkpoint(self, checkpoint: dict[str, Any] | None) -> None:
        """Nothing, see above."""


class SweepTrial(Trial):
    """The attempts of a sweep, one after another; a row that ends one holds the whole outcome beside the numbers.

    It is one JSON text, which is one column of a data frame and nothing to TensorBoard, where a mapping would be a
    column for each of its numbers and a histogram for each list. A configuration is `{"spec": fields of a TrialSpec,
    "attempt": counted from 1, "part": of the trial, "worker": fields of a Worker, "group": name of the group's actor,
    None for this one}`.
    """

    _own: WorkerGroup | None = None
    _attempt: Attempt | None = None
    _folder = Path()

    def __repr__(self) -> str:
        """The sweep's name: what the dashboard and log lines call the actor."""
        return self._folder.name

    def setup(self, config: dict[str, Any], *, prepared: Any = None, folder: str = "", group: Any = None) -> None:
        """Take what all attempts share: `prepared` by family and SFT seed, the sweep's `folder`, how its trials run."""
        self._prepared, self._folder, self._how = prepared, Path(folder), group

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Make room for another attempt in the same actor."""
        self.cleanup()
        return True

    def step(self) -> dict[str, Any]:
        """The next row; the first begins the attempt, so that its start is in the log before anything it does."""
        if self._attempt is None:
            self._attempt = self._begun()
        row, outcome = self._attempt.row(), self._attempt.outcome
        return row if outcome is None else {**row, "outcome": outcome.model_dump_json(), "done": True}

    def cleanup(self) -> None:
        """End the attempt where it is."""
        if self._attempt is not None:
            self._attempt.leave()
        self._attempt = None

    def _begun(self) -> Attempt:
        config = self.config
        spec, worker = TrialSpec(**config["spec"]), Worker(**config["worker"])
        models = worker.held(self._prepared[spec.family, spec.sft_seed or 0])
        if config["group"] is None and self._own is None:
            self._own = WorkerGroup("", self._how, worker, "")
        group = self._own if config["group"] is None else ray.get_actor(config["group"])
        return Attempt(spec, models, self._folder, group, attempt=config["attempt"], part=config["part"])


def _lost(error: RayError) -> Outcome:
    """The outcome of an attempt whose group is gone: a session's own errors come as answers."""
    outcome = failed(error)
    return outcome if outcome.reason else outcome.model_copy(update={"reason": "process lost"})


def flat(outcome: Outcome, passes: float) -> dict[str, Any]:
    """One row of what Tune, its loggers and TensorBoard hold of a trial; a number that does not exist is NaN.

    Every row has the same columns: Tune's CSV logger takes those of the first, and a searcher or scheduler whose metric
    is missing from one ends the run.

    Args:
        outcome: of the trial.
        passes: see `passes_a_step`.
    """
    numbers = {name: getattr(outcome, name) for name in METRICS}
    numbers |= {f"seconds/{phase}": outcome.seconds.get(phase) for phase in PHASES}
    numbers |= {"loss": outcome.losses[-1] if outcome.losses else None, "step": outcome.steps}
    known = {name: math.nan if number is None else number for name, number in numbers.items()}
    x_axis = {} if outcome.steps is None else {"timesteps_total": outcome.steps}  # of TensorBoard's curves
    return {
        **known,
        **x_axis,
        "epoch": known["step"] * passes,
        "state": outcome.state,
        "policy_path": outcome.policy_path,
    }


def passes_a_step(spec: TrialSpec, prepared: Prepared) -> float:
    """Which share of its preference data a trial trains in one step; NaN where the settings or the data are unfit."""
    try:
        settings = train_settings_from(spec.train or {})
        folder = Path(prepared.data[spec.data][settings.algorithm])
        rows = sum(
            batch.num_rows
            for file in folder.glob("data-*.arrow")
            for batch in pyarrow.ipc.open_stream(pyarrow.memory_map(str(file)))
        )
    except (ValueError, TypeError, KeyError, OSError):
        return math.nan
    return settings.pairs_read.examples / settings.steps / rows if rows else math.nan
