"""What the driver does when a trial starts and ends: a line in the store, an MLflow run, a line on the terminal."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ray import tune
from rich.console import Console
from rich.progress import Progress, TaskID

from omsweep.engine.memory_kill import memory_kill_message
from omsweep.redaction import redacted
from omsweep.results.front import family_hypervolumes
from omsweep.results.objectives import Objectives
from omsweep.sinks.guard import GuardedTracker
from omsweep.store.folder import SweepFolder
from omsweep.store.records import Outcome, Prepared, TrialRecord, TrialSpec


class SweepEvents(tune.Callback):
    """Writes every trial to the store and to MLflow as it starts and ends; runs in the driver, one event at a time.

    Args:
        objectives: of the resolved space.
        folder: the sweep's.
        tracker: which never raises.
        prepared: by family and SFT seed.
        console: for a line per trial.
        bar: a progress bar and its task.
    """

    def __init__(
        self,
        objectives: Mapping[str, Any],
        folder: SweepFolder,
        tracker: GuardedTracker,
        prepared: Mapping[tuple[str, int], Prepared],
        console: Console,
        bar: tuple[Progress, TaskID],
    ) -> None:
        self._objectives = Objectives.from_settings(objectives)
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
        self.start(TrialSpec(**trial.config["spec"]))

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Record what the trial reported."""
        self.end(TrialSpec(**trial.config["spec"]), Outcome(**trial.last_result["outcome"]))

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Record a trial whose actor died before it could report."""
        self.end(TrialSpec(**trial.config["spec"]), Outcome(state="failed", error=_actor_error(trial)))

    def expect(self, more: int) -> None:
        """Count `more` trials among those to come."""
        total = self._progress.tasks[self._progress.task_ids.index(self._task)].total or 0
        self._progress.update(self._task, total=total + more)

    def start(self, spec: TrialSpec) -> None:
        """Open a trial's MLflow run, unless it is open."""
        if spec.trial_id not in self._started:
            self._started.add(spec.trial_id)
            self._tracker.start_trial(spec)

    def end(self, spec: TrialSpec, outcome: Outcome) -> None:
        """Record a trial's first outcome."""
        if any(done.trial_id == spec.trial_id for done in self.finished):
            return  # Tune reports a trial as failed, too, where something raises after it completed
        if outcome.error:
            outcome = outcome.model_copy(update={"error": redacted(outcome.error)})
        record = TrialRecord.of(spec, outcome, self._tracker.open_run(spec.trial_id))
        self._folder.append(record)
        self.finished.append(record)
        reference = self._prepared[spec.family, spec.sft_seed or 0].reference
        self._tracker.end_trial(record, reference.scores, outcome.losses)
        volumes = family_hypervolumes(self.finished, self._objectives)
        self._tracker.log_hypervolume(volumes, step=len(self.finished))
        self._console.print(trial_line(record, outcome.preflight), highlight=False)
        self._progress.update(self._task, advance=1)


def trial_line(record: TrialRecord, preflight: Mapping[str, float | None]) -> str:
    """One line of terminal text (rich markup) about a finished trial."""
    from rich.markup import escape

    if record.state == "completed" and record.reward is not None and record.tax is not None:
        took = sum(v for v in record.seconds.values() if v is not None)
        numbers = f"reward [bold]{record.reward:+.3f}[/] ±{1.96 * (record.reward_se_items or 0):.3f}  "
        numbers += f"tax [bold]{record.tax:+.2f}[/] ±{1.96 * (record.tax_se_items or 0):.2f} points"
        share = preflight.get("truncated_share")
        numbers += f"  {took:.0f} s" + (f"  [yellow]{share:.1%} of examples truncated[/]" if share else "")
        return f"[green]done[/]      {escape(record.trial_id):<34} {record.algorithm:<4} {numbers}"
    return f"[red]{record.state:<9}[/] {escape(record.trial_id):<34} {record.algorithm:<4} {escape(record.error or '')}"


def _actor_error(trial: Any) -> str:
    """What Tune kept of the death of a trial's actor, in one line."""
    kept = getattr(trial, "error_file", None)
    text = Path(kept).read_text().strip() if kept and Path(kept).is_file() else ""
    if not text:
        return "the trial's process died without a message"
    return memory_kill_message(text) or text.splitlines()[-1]
