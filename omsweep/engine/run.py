"""A whole sweep: prepare, run every trial under Ray Tune, rescore the front, write the report."""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray
from ray import tune
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from omsweep.cluster.connect import connect
from omsweep.engine.callback import SweepEvents
from omsweep.engine.memory_kill import trials_outlive_memory_kills
from omsweep.engine.merging import run_posthoc
from omsweep.engine.placement import TRIAL_CPUS, Placement, place
from omsweep.engine.prepare import Family, check_own_data, contamination, keep_references, prepare_all
from omsweep.engine.rescore import rescore_front
from omsweep.engine.searcher import ProposerSearcher
from omsweep.engine.signals import interruptible
from omsweep.engine.trainable import Group, run_trial
from omsweep.engine.work import Work
from omsweep.plan.design import draw
from omsweep.plan.optuna import StudyProposer
from omsweep.plan.starting_points import trial_count
from omsweep.report.tables import print_answers, print_status
from omsweep.report.write import write_report
from omsweep.sinks.guard import GuardedTracker
from omsweep.sinks.mlflow import Tracker
from omsweep.space.resources import declared_train
from omsweep.space.search_space import SearchSpace
from omsweep.store.folder import SweepFolder
from omsweep.store.records import Prepared, TrialSpec
from omsweep.trial.merge import SCRATCH

DONE, FAILED, INTERRUPTED = 0, 1, 130
REAL = Work()


def run_sweep(space: SearchSpace, name: str, storage: Path, tracking_uri: str | None = None, work: Work = REAL) -> int:
    """Run a sweep to its end and write its folder, MLflow runs and report.

    Args:
        space: a checked search space.
        name: of the sweep, its folder and its MLflow experiment.
        storage: absolute folder that all nodes share.
        tracking_uri: of MLflow, default a SQLite file in `storage`.
        work: what the processes do.

    Returns:
        0 when at least one trial completed, 1 when none did, 130 when interrupted.

    Raises:
        FileExistsError: a sweep of this name exists.
        ValueError: tracking store, resources, family, preference data or suite cannot be used; nothing was trained yet.
    """
    console = Console(soft_wrap=True)
    folder = SweepFolder(storage, name)
    if folder.exists():
        raise FileExistsError(f"sweep folder {folder.path} exists: choose another --name or remove the folder")
    check_own_data(space)
    specs = draw(space) if space.file.mode == "compare" else None
    store = Tracker(tracking_uri or f"sqlite:///{storage / 'mlflow.db'}", name)  # tried before anything costs time
    with connect(console), interruptible():  # ray.init sets a SIGTERM handler of its own: ours comes after it
        placement = place(declared_train(space.file.train, space.families), ray.available_resources())
        ready = prepare_all(space, specs, placement, console, work)
        folder.create(space.resolved(), contamination(ready))
        keep_references(space, folder, ready)
        prepared = {key: models for key, (models, _) in ready.items()}
        tracker = GuardedTracker(
            store, folder.path, lambda text: console.print(f"[yellow]warning[/]: {escape(text)}", highlight=False)
        )
        tracker.start_sweep(space.resolved(), {"mode": space.file.mode, "folder": str(folder.path)})
        state, rescored = "failed", {}
        try:
            events = _run_trials(space, specs, folder, tracker, prepared, placement, console, work)
            rescored = rescore_front(space, folder, prepared, placement, console, work)
            state = "completed" if any(t.state == "completed" for t in events.finished) else "failed"
        except KeyboardInterrupt:
            state = "interrupted"
            console.print("[yellow]interrupted[/]: writing the front so far")
        finally:
            shutil.rmtree(folder.path / SCRATCH, ignore_errors=True)
            try:
                write_report(folder, report_scores=rescored)
            finally:
                tracker.finish(state)
    print_status(folder, console)
    print_answers(folder)
    return {"completed": DONE, "failed": FAILED, "interrupted": INTERRUPTED}[state]


def _run_trials(
    space: SearchSpace,
    specs: Sequence[TrialSpec] | None,
    folder: SweepFolder,
    tracker: GuardedTracker,
    prepared: Mapping[Family, Prepared],
    placement: Placement,
    console: Console,
    work: Work,
) -> SweepEvents:
    train = space.file.train
    group = Group(
        backend=train.backend,
        workers=train.workers,
        max_failures=train.max_failures,
        placement=placement,
        session=work.session,
    )
    trainable = tune.with_parameters(run_trial, prepared=dict(prepared), folder=str(folder.path), group=group)
    own = placement.of_worker() if train.backend == "inprocess" else {"CPU": TRIAL_CPUS}
    total = trial_count(space) if specs is None else len(specs)
    proposed = {} if specs is None else {"spec": tune.grid_search([spec.model_dump() for spec in specs])}
    console.print(f"running {total} trials, {placement.concurrent_trials} at a time, backend {train.backend}")
    with _bar(console, total) as bar:
        events = SweepEvents(space.resolved()["objectives"], folder, tracker, prepared, console, bar)
        tuner = tune.Tuner(
            tune.with_resources(trainable, tune.PlacementGroupFactory([own])),
            param_space=proposed,
            tune_config=tune.TuneConfig(
                num_samples=total if specs is None else 1,
                search_alg=ProposerSearcher(StudyProposer(space)) if specs is None else None,
                max_concurrent_trials=placement.concurrent_trials,
                reuse_actors=True,  # a new actor costs the imports of Ray and torch anew
                trial_name_creator=lambda trial: trial.config["spec"]["trial_id"],
                trial_dirname_creator=lambda trial: trial.config["spec"]["trial_id"],
            ),
            run_config=tune.RunConfig(
                name="tune", storage_path=str(folder.path / "ray"), callbacks=[events], verbose=0
            ),
        )
        with trials_outlive_memory_kills():
            tuner.fit()
        run_posthoc(space, folder, events, prepared, placement, console, work)
    return events


@contextmanager
def _bar(console: Console, total: int) -> Iterator[tuple[Progress, Any]]:
    columns = (TextColumn("trials"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        yield progress, progress.add_task("trials", total=total)
