"""An attempt at a trial, in a Ray Train worker group (`train`) or in the Tune actor itself (`inprocess`), and what Tune
is told of it.

A trial's processes import this file: it knows sessions and plain data, and neither search spaces nor reports.
"""

import logging
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow
import ray
import ray.train
from ray import tune
from ray.train import Checkpoint, CheckpointConfig, FailureConfig, LoggingConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer
from ray.train.v2._internal.callbacks import DatasetsCallback
from ray.train.v2._internal.execution import context
from ray.train.v2._internal.execution.controller import TrainController
from ray.train.v2._internal.execution.worker_group import RayTrainWorker, WorkerGroup
from ray.train.v2.api import data_parallel_trainer

from omsweep.align.settings import train_settings_from
from omsweep.engine.failures import failed
from omsweep.engine.placement import Worker
from omsweep.store.records import SHOWN, Outcome, Prepared, TrialSpec
from omsweep.trial.progress import SECONDS, Losses, Place, alive, note_place, progress_file, read_losses, repeated
from omsweep.trial.session import last_checkpoint, run_session

CONTROLLER_FAILURES = 3
"""How often a worker group's controller may fail, a group that does not start included; Ray's own limit is none."""
METRICS = tuple(name for name, shown in SHOWN.items() if shown.mlflow == "metric" and name != "steps")
PHASES = ("start", "pilot", "train", "evaluate")
"""Of a trial's `seconds`."""

PREEMPTION_GRACE_SECONDS = 30.0
"""How long the workers that stay may still write the checkpoint of a node that was taken away."""


@dataclass(frozen=True, kw_only=True)
class Group:
    """How a sweep's trials run.

    Attributes:
        backend: `train` or `inprocess`.
        workers: processes of a trial under `train`.
        max_failures: how often a worker group is started again from its last checkpoint.
        session: what a trial does under `inprocess`.
    """

    backend: str
    workers: int
    max_failures: int
    session: Callable[..., Outcome | None] = run_session

    def __post_init__(self) -> None:
        if self.backend == "train" and self.session is not run_session:
            raise ValueError("a session of one's own needs backend inprocess: a worker group runs the real one")


class DiskDataTrainer(TorchTrainer):
    """A TorchTrainer without the actor that hands out Ray data sets, a process per trial: prepared data lie on disk.

    The dashboard, and what Ray puts before lines that are printed, call its controller and workers by the run's name.
    Overrides private methods of the pinned Ray; the tests of this file guard it.
    """

    def _create_default_callbacks(self) -> list[Any]:
        return [made for made in super()._create_default_callbacks() if not isinstance(made, DatasetsCallback)]

    def _initialize_and_run_controller(self, **given: Any) -> Any:
        name = str(self.run_config.name)
        workers = type("WorkerGroup", (WorkerGroup,), {"_worker_cls": _called(name, RayTrainWorker)})
        data_parallel_trainer.TrainController = _called(name, TrainController, worker_group_cls=workers)
        try:
            return super()._initialize_and_run_controller(**given)
        finally:
            data_parallel_trainer.TrainController = TrainController


def _called(name: str, actor: type, **changed: Any) -> type:
    """A class of actors that are shown under a name."""
    return type(actor.__name__, (actor,), {"__repr__": lambda self: name, **changed})


def run_trial(
    config: Mapping[str, Any], *, prepared: Mapping[tuple[str, int], Prepared], folder: str, group: Group
) -> None:
    """An attempt of a sweep; at its end Tune is told the whole outcome beside the numbers, as one JSON text.

    A text is one column of a data frame and nothing to TensorBoard, where a mapping would be a column for each of its
    numbers and a histogram for each list.

    Args:
        config: `{"spec": fields of a TrialSpec, "attempt": counted from 1, "worker": fields of a Worker}`.
        prepared: by family and SFT seed.
        folder: the sweep's.
        group: how trials run.
    """
    spec = TrialSpec(**config["spec"])
    models = prepared[spec.family, spec.sft_seed or 0]
    passes = passes_a_step(spec, models)
    worker = Worker(**config["worker"])
    outcome = run_attempt(spec, models, Path(folder), group, worker, attempt=config["attempt"], passes=passes)
    tune.report({**flat(outcome, passes), "outcome": outcome.model_dump_json()})


def run_attempt(
    spec: TrialSpec,
    prepared: Prepared,
    folder: Path,
    group: Group,
    worker: Worker,
    *,
    attempt: int,
    passes: float,
) -> Outcome:
    """Run a trial's session, in a thread beside it tell Tune how far it is, and return how it ended.

    A trial that raises is `failed` with its message, so that a sweep goes on and a search is told.

    Args:
        spec: the trial.
        prepared: of its SFT model.
        folder: the sweep's, or the trial's own.
        group: how trials run.
        worker: what each worker occupies.
        attempt: at this trial, counted from 1; a later one goes on from the last checkpoint.
        passes: see `passes_a_step`.
    """
    started = time.time()
    try:
        note_place(folder, spec.trial_id, Place(attempt, ray.get_runtime_context().get_node_id(), os.getpid()))
        resume_from = last_checkpoint(folder, spec.trial_id) if attempt > 1 else None
        with reporting(progress_file(folder, spec.trial_id), passes):
            if group.backend == "train":
                return run_in_workers(
                    spec,
                    prepared,
                    str(folder),
                    group,
                    worker,
                    started=started,
                    attempt=attempt,
                    resume_from=resume_from,
                )
            with alive(folder, spec.trial_id):
                outcome = group.session(spec, prepared, folder, started=started, resume_from=resume_from)
            assert outcome is not None, "there is one rank"
            return outcome
    except Exception as error:  # whatever it was, it is this trial's outcome
        return failed(error)


@contextmanager
def reporting(progress: Path, passes: float, seconds: float = SECONDS) -> Iterator[None]:
    """Inside, a thread tells Tune every so many seconds which step training has come to, and its loss.

    It reads what rank 0 writes for the driver anyway: no worker sends anything more, and no step waits for Tune.
    """
    position = progress.stat().st_size if progress.is_file() else 0  # a former attempt's

    def look() -> None:
        nonlocal position
        found: list[Losses] = []
        with suppress(OSError):  # a storage that is away for a moment
            found, position = read_losses(progress, position)
        if found:
            last = found[-1]
            step = last.first_step + len(last.losses) - 1
            seen = Outcome(state="stopped", steps=step, losses=(last.losses[-1],))
            tune.report({**flat(seen, passes), "state": "running"})

    with repeated(look, seconds, name="report"):
        yield


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


def run_in_workers(
    spec: TrialSpec,
    prepared: Prepared,
    folder: str,
    group: Group,
    worker: Worker,
    *,
    started: float,
    attempt: int = 1,
    resume_from: Path | None = None,
    loop: Callable[[dict[str, Any]], dict[str, Any] | None] | None = None,
) -> Outcome:
    """Run a trial in a Ray Train worker group of its own.

    Args:
        spec: the trial.
        prepared: of its SFT model.
        folder: the sweep's.
        group: how trials run.
        worker: what each worker occupies.
        started: Unix time at which the trial was started.
        attempt: counts the worker groups of this trial that were started by a driver, from 1.
        resume_from: checkpoint that a former attempt left.
        loop: what each worker calls with the job, plain data; None: `train_in_worker`.

    Returns:
        The outcome of rank 0.
    """
    job = {"spec": spec.model_dump(), "prepared": prepared.model_dump(), "folder": folder, "started": started}
    job["resume_from"] = None if resume_from is None else str(resume_from)
    trainer = DiskDataTrainer(
        train_in_worker if loop is None else loop,
        train_loop_config=job,
        scaling_config=ScalingConfig(
            num_workers=group.workers, use_gpu=worker.gpus > 0, resources_per_worker=worker.bundle()
        ),
        torch_config=TorchConfig(backend="nccl" if worker.gpus else "gloo"),
        run_config=RunConfig(
            name=f"{Path(folder).name}-{spec.trial_id}-{attempt}",  # Ray goes on from what it finds under a name
            storage_path=str(Path(folder) / "checkpoints" / spec.trial_id),
            checkpoint_config=CheckpointConfig(num_to_keep=1),
            failure_config=FailureConfig(
                max_failures=group.max_failures,
                controller_failure_limit=CONTROLLER_FAILURES,
                relax_collectives_on_preemption=True,
                preemption_grace_s=PREEMPTION_GRACE_SECONDS,
            ),
            logging_config=LoggingConfig(log_level="WARNING"),
        ),
    )
    return Outcome(**trainer.fit().return_value)


class TakenAway:
    """Asked after each step: True once, at the first notice that a node of the worker group is to be taken away.

    Ray Train then restarts the group from the checkpoint that this causes. Asking is a meeting of all workers, so it is
    left out where Ray Train does not watch for such notices.
    """

    def __init__(self) -> None:
        self._watched = os.environ.get("RAY_TRAIN_ENABLE_PREEMPTION_WATCHER", "1") != "0"

    def __call__(self) -> bool:
        """Whether a checkpoint is to be written now."""
        if not self._watched or ray.train.get_preemption_info() is None:
            return False
        self._watched = False
        return True


def train_in_worker(job: Mapping[str, Any]) -> dict[str, Any] | None:
    """Run a session in one worker of a Ray Train group, from the group's last checkpoint where there is one."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    context.logger.setLevel(logging.WARNING)  # else a line for each checkpoint: logging_config does not reach it
    rank = ray.train.get_context().get_world_rank()
    last = ray.train.get_checkpoint()

    def report(step: int, folder: Path) -> None:
        checkpoint = Checkpoint.from_directory(str(folder)) if rank == 0 else None
        ray.train.report({"step": step}, checkpoint=checkpoint)

    def run(resume_from: Path | None) -> Outcome | None:
        return run_session(
            TrialSpec(**job["spec"]),
            Prepared(**job["prepared"]),
            Path(job["folder"]),
            started=job["started"],
            rank=rank,
            on_checkpoint=report,
            resume_from=resume_from,
            interrupted=TakenAway(),
        )

    with alive(Path(job["folder"]), job["spec"]["trial_id"]) if rank == 0 else nullcontext():
        if last is None:
            outcome = run(None if job["resume_from"] is None else Path(job["resume_from"]))
        else:
            with last.as_directory() as folder:
                outcome = run(Path(folder))
    return None if outcome is None else outcome.model_dump()
