"""What the driver does when a trial starts and ends: a line in the store, an MLflow run, a line on the terminal."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ray import tune
from rich.console import Console
from rich.progress import Progress, TaskID

from omsweep.redaction import redacted
from omsweep.results.front import family_hypervolumes
from omsweep.sinks.guard import GuardedTracker
from omsweep.space.search_space import TRAIN_KNOBS, SearchSpace
from omsweep.store.folder import SweepFolder
from omsweep.store.records import TRIAL_FIELDS, TrialRecord

IDENTITY = (
    *("trial_id", "family", "sft_seed", "block", "seed", "label", "baseline", "algorithm", "method", "task_vector"),
    *("kind", "parent"),
)
"""What a sample says of a trial beside its settings; the last two only of one that is merged after training."""

TAGS = ("family", "method", "label", "task_vector", "kind", "parent")

logger = logging.getLogger(__name__)


FIXED = (
    *TRAIN_KNOBS,
    "batch_size",
    "workers",
    "gradient_accumulation_steps",
    "gradient_checkpointing",
    "sharding",
    "backend",
    "max_length",
)
"""Settings of the `train` section that a trial's parameters record."""


class SweepEvents(tune.Callback):
    """Writes every trial to the store and to MLflow as it starts and ends; runs in the driver, one event at a time."""

    def __init__(
        self,
        space: SearchSpace,
        folder: SweepFolder,
        tracker: GuardedTracker,
        prepared: Mapping[tuple[str, int], Mapping[str, Any]],
        console: Console,
        bar: tuple[Progress, TaskID],
    ) -> None:
        self._space = space
        self._objectives = space.resolved()["objectives"]
        self._folder = folder
        self._tracker = tracker
        self._prepared = prepared
        self._console = console
        self._progress, self._task = bar
        self._started: set[str] = set()
        self.finished: list[TrialRecord] = []

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune pickles its callbacks for a restore of its own, and this one belongs to the living driver."""
        return {}

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Open the trial's MLflow run."""
        self.start(trial.config["sample"])

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Record what the trial reported."""
        self.end(trial.config["sample"], trial.last_result["outcome"])

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Record a trial whose actor died before it could report."""
        self.end(trial.config["sample"], {"state": "failed", "error": _actor_error(trial)})

    def expect(self, more: int) -> None:
        """Count `more` trials among those to come."""
        total = self._progress.tasks[self._progress.task_ids.index(self._task)].total or 0
        self._progress.update(self._task, total=total + more)

    def start(self, sample: Mapping[str, Any]) -> None:
        """Open a sample's MLflow run, unless it is open."""
        if sample["trial_id"] not in self._started:
            self._started.add(sample["trial_id"])
            params = {**self._fixed_settings(sample), **settings_of(sample)}
            self._tracker.start_trial(
                sample["trial_id"],
                {**{name: sample[name] for name in IDENTITY if name in sample}, **params},
                {name: sample[name] for name in TAGS if name in sample},
            )

    def end(self, sample: Mapping[str, Any], outcome: Mapping[str, Any]) -> None:
        """Record a sample's first outcome, the fields of its trial object that its own process knows."""
        if any(done.trial_id == sample["trial_id"] for done in self.finished):
            return  # Tune reports a trial as failed, too, where something raises after it completed
        record = self._record(sample, outcome)
        self._folder.append(record)
        self.finished.append(record)
        reference = self._facts(sample)["reference"]["scores"]
        self._tracker.end_trial(record.to_json(), reference, outcome.get("losses", []))
        volumes = family_hypervolumes(self.finished, self._objectives)
        self._tracker.log_hypervolume(volumes, step=len(self.finished))
        self._console.print(trial_line(record, outcome.get("preflight", {})), highlight=False)
        self._progress.update(self._task, advance=1)

    def _record(self, sample: Mapping[str, Any], outcome: Mapping[str, Any]) -> TrialRecord:
        known = {name: value for name, value in outcome.items() if name in TRIAL_FIELDS}
        identity = {name: sample[name] for name in IDENTITY if name in sample}
        error = outcome.get("error")
        return TrialRecord(
            **{
                **known,
                **identity,
                "error": redacted(error) if error else None,
                "params": {**self._fixed_settings(sample), **settings_of(sample)},
                "mlflow_run_id": self._tracker.open_run(sample["trial_id"]),
            }
        )

    def _facts(self, sample: Mapping[str, Any]) -> Mapping[str, Any]:
        return self._prepared[sample["family"], sample["sft_seed"]]

    def _fixed_settings(self, sample: Mapping[str, Any]) -> dict[str, Any]:
        train = self._space.file.train
        return {**{name: getattr(train, name) for name in FIXED}, "dtype": self._facts(sample)["dtype"]}


def settings_of(sample: Mapping[str, Any]) -> dict[str, Any]:
    """A sample's knobs without its identity."""
    return {name: value for name, value in sample.items() if name not in IDENTITY}


def trial_line(record: TrialRecord, preflight: Mapping[str, float]) -> str:
    """One line of terminal text (rich markup) about a finished trial."""
    from rich.markup import escape

    if record.state == "completed" and record.reward is not None and record.tax is not None:
        took = sum(v for v in record.seconds.values() if v is not None)
        numbers = f"reward [bold]{record.reward:+.3f}[/] ±{1.96 * (record.reward_se_items or 0):.3f}  "
        numbers += f"tax [bold]{record.tax:+.2f}[/] ±{1.96 * (record.tax_se_items or 0):.2f} points"
        share = preflight.get("truncated_share", 0.0)
        numbers += f"  {took:.0f} s" + (f"  [yellow]{share:.1%} of examples truncated[/]" if share else "")
        return f"[green]done[/]      {escape(record.trial_id):<34} {record.algorithm:<4} {numbers}"
    return f"[red]{record.state:<9}[/] {escape(record.trial_id):<34} {record.algorithm:<4} {escape(record.error or '')}"


def _actor_error(trial: Any) -> str:
    """Last line of the error Tune kept of a trial whose actor died."""
    kept = getattr(trial, "error_file", None)
    lines = Path(kept).read_text().strip().splitlines() if kept and Path(kept).is_file() else []
    return lines[-1] if lines else "the trial's process died without a message"
