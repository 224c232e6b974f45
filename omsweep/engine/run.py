"""A whole sweep: prepare, run every trial under Ray Tune, rescore the front, write the report."""

import dataclasses
import logging
import os
import shutil
import signal
import stat
import time
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
from omsweep.engine.merging import run_posthoc
from omsweep.engine.rescore import rescore_front
from omsweep.engine.trainable import run_trial
from omsweep.plan.design import draw
from omsweep.plan.optuna import StudySearcher
from omsweep.plan.starting_points import trial_count
from omsweep.report import write_report
from omsweep.report.tables import print_answers, print_status
from omsweep.sinks.guard import GuardedTracker
from omsweep.sinks.mlflow import Tracker
from omsweep.space.checks.extras import require_extras
from omsweep.space.data_sources import algorithms_by_source
from omsweep.space.resources import TRIAL_CPUS, Placement, declared_train, place, task_options
from omsweep.space.search_space import SearchSpace
from omsweep.store.folder import SweepFolder
from omsweep.trial.merge import SCRATCH

DONE, FAILED, INTERRUPTED = 0, 1, 130

logger = logging.getLogger(__name__)


def run_sweep(space: SearchSpace, name: str, storage: Path, tracking_uri: str | None = None) -> int:
    """Run a sweep to its end and write its folder, MLflow runs and report.

    Args:
        space: a checked search space.
        name: of the sweep, its folder and its MLflow experiment.
        storage: absolute folder that all nodes share.
        tracking_uri: of MLflow, default a SQLite file in `storage`.

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
    _check_own_data(space)
    store = Tracker(tracking_uri or f"sqlite:///{storage / 'mlflow.db'}", name)  # tried before anything costs time
    with connect(console), _interruptible():  # ray.init sets a SIGTERM handler of its own: ours comes after it
        placement = place(declared_train(space.file.train, space.families), ray.available_resources())
        prepared = _prepare_all(space, placement, console)
        folder.create(space.resolved())
        for (family, sft_seed), facts in prepared.items():
            models = {name: facts[name] for name in ("base", "base_revision", "sft", "sft_revision")}
            key = sft_seed if space.design.sft_seeds > 1 else None
            folder.write_reference(family, facts["reference"] | models, sft_seed=key)
            folder.write_reference_scores(family, facts.pop("reference_scores"), sft_seed=key)
        tracker = GuardedTracker(
            store, folder.path, lambda text: console.print(f"[yellow]warning[/]: {escape(text)}", highlight=False)
        )
        tracker.start_sweep(space.resolved(), {"mode": space.file.mode, "folder": str(folder.path)})
        state, rescored = "failed", {}
        try:
            events = _run_trials(space, folder, tracker, prepared, placement, console)
            rescored = rescore_front(space, folder, prepared, placement, console)
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


def _check_own_data(space: SearchSpace) -> None:
    """Refuse missing packages, and read the data that no model has to make: a mistake in them costs nothing."""
    require_extras(space)
    sources = [source for source, _ in algorithms_by_source(space.preferences, space.shared, space.branches)]
    own = [source for source in sources if source.name is None]
    if own:
        from omsweep.evaluation.item_ids import evaluation_ids
        from omsweep.preferences.load import load_preferences

        reserved_ids = evaluation_ids(space.evaluate)
        for source in own:
            load_preferences(source, family_key="", generate=_no_generation, reserved_ids=reserved_ids)
    if space.replay is not None:
        from omsweep.preferences.replay import load_replay

        load_replay(space.replay, sft_seed=0)


def _no_generation(prompts: Sequence[Any], samples: int, seed: int) -> list[list[str]]:
    raise AssertionError("only embedded preference data are generated")


def _prepare_all(space: SearchSpace, placement: Placement, console: Console) -> dict[tuple[str, int], dict[str, Any]]:
    """Prepare every SFT model of every family in a Ray task of its own; raises ValueError with the task's message."""
    started = time.monotonic()
    console.print(f"preparing {', '.join(space.family_names)} (cached by recipe; the first time trains them)")
    task = ray.remote(_prepare_task).options(**task_options(placement))
    waiting = {
        (name, seed): task.remote(space.resolved(), name, console.is_terminal, seed)
        for name in space.family_names
        for seed in range(space.design.sft_seeds)
    }
    prepared = {key: _outcome(reference, f"family {key[0]}") for key, reference in waiting.items()}
    for (name, seed), facts in prepared.items():
        average = facts["reference"]["benchmark_average"]
        which = f" {seed}" if space.design.sft_seeds > 1 else ""
        console.print(f"  {name}: SFT model{which} scores {average:.1f} points on the tax suite", highlight=False)
    console.print(f"prepared in {time.monotonic() - started:.0f} s")
    return prepared


def _prepare_task(content: Mapping[str, Any], family: str, drawn: bool, sft_seed: int) -> dict[str, Any]:
    from ray.experimental import tqdm_ray

    from omsweep.trial.prepare.family import Milestones, prepare_family

    return prepare_family(content, family, tqdm_ray.tqdm if drawn else Milestones, sft_seed=sft_seed)


def _outcome(reference: Any, what: str) -> Any:
    """The result of a Ray task; what it raised as ValueError becomes one of our own, anything else passes on."""
    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, ValueError):
            raise ValueError(f"{what}: {error.cause}") from None
        raise


def _run_trials(
    space: SearchSpace,
    folder: SweepFolder,
    tracker: GuardedTracker,
    prepared: Mapping[tuple[str, int], Any],
    placement: Placement,
    console: Console,
) -> SweepEvents:
    train = space.file.train
    shared = {
        "content": space.resolved(),
        "prepared": dict(prepared),
        "folder": str(folder.path),
        "placement": dataclasses.asdict(placement),
    }
    own = {"CPU": TRIAL_CPUS}
    if train.backend == "inprocess":
        own = placement.of_worker()
    compare = space.file.mode == "compare"
    samples = draw(space) if compare else []
    total = len(samples) if compare else trial_count(space)
    console.print(f"running {total} trials, {placement.concurrent_trials} at a time, backend {train.backend}")
    with _bar(console, total) as bar:
        events = SweepEvents(space, folder, tracker, prepared, console, bar)
        tuner = tune.Tuner(
            tune.with_resources(tune.with_parameters(run_trial, shared=shared), tune.PlacementGroupFactory([own])),
            param_space={"sample": tune.grid_search(samples)} if compare else {},
            tune_config=tune.TuneConfig(
                num_samples=1 if compare else total,
                search_alg=None if compare else StudySearcher(space),
                max_concurrent_trials=placement.concurrent_trials,
                reuse_actors=True,  # a new actor costs the imports of Ray and torch anew
                trial_name_creator=lambda trial: trial.config["sample"]["trial_id"],
                trial_dirname_creator=lambda trial: trial.config["sample"]["trial_id"],
            ),
            run_config=tune.RunConfig(
                name="tune", storage_path=str(folder.path / "ray"), callbacks=[events], verbose=0
            ),
        )
        tuner.fit()
        run_posthoc(space, folder, events, prepared, placement, console)
    return events


@contextmanager
def _bar(console: Console, total: int) -> Iterator[tuple[Progress, Any]]:
    columns = (TextColumn("trials"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        yield progress, progress.add_task("trials", total=total)


@contextmanager
def _interruptible() -> Iterator[None]:
    """Ctrl-C, SIGTERM and, without `nohup`, SIGHUP raise KeyboardInterrupt here instead of Tune's own handling."""
    os.environ["TUNE_DISABLE_SIGINT_HANDLER"] = "1"

    def interrupt(number: int, _frame: Any) -> None:
        if number == signal.SIGHUP:
            _leave_terminal()
        raise KeyboardInterrupt

    ending = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        ending.remove(signal.SIGHUP)
    before = {number: signal.signal(number, interrupt) for number in ending}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _leave_terminal() -> None:
    """Send output to nowhere unless it goes to a file: a print to a lost terminal raises, and would cost the report."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for output in (1, 2):
        if not stat.S_ISREG(os.fstat(output).st_mode):
            os.dup2(nowhere, output)
    os.close(nowhere)
