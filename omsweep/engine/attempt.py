"""The Tune trainable: one trial in a Ray Train worker group (`train`) or in the Tune actor itself (`inprocess`).

A trial's processes import this file: it knows sessions and plain data, and neither search spaces nor reports.
"""

import os
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
import ray.train
from ray import tune
from ray.train import Checkpoint, CheckpointConfig, FailureConfig, LoggingConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer
from ray.train.v2._internal.callbacks import DatasetsCallback

from omsweep.engine.failures import failed
from omsweep.engine.placement import Placement
from omsweep.store.records import Outcome, Prepared, TrialSpec
from omsweep.trial.progress import Place, alive, note_place
from omsweep.trial.session import last_checkpoint, run_session

CONTROLLER_FAILURES = 3
"""How often a worker group's controller may fail, a group that does not start included; Ray's own limit is none."""


@dataclass(frozen=True, kw_only=True)
class Group:
    """How a sweep's trials run.

    Attributes:
        backend: `train` or `inprocess`.
        workers: processes of a trial under `train`.
        max_failures: how often a worker group is started again from its last checkpoint.
        placement: what each worker occupies.
        session: what a trial does under `inprocess`.
    """

    backend: str
    workers: int
    max_failures: int
    placement: Placement
    session: Callable[..., Outcome | None] = run_session

    def __post_init__(self) -> None:
        if self.backend == "train" and self.session is not run_session:
            raise ValueError("a session of one's own needs backend inprocess: a worker group runs the real one")


class DiskDataTrainer(TorchTrainer):
    """A TorchTrainer without the actor that hands out Ray data sets, a process per trial: prepared data lie on disk.

    Overrides a private method of the pinned Ray; the tests of this file guard it.
    """

    def _create_default_callbacks(self) -> list[Any]:
        return [made for made in super()._create_default_callbacks() if not isinstance(made, DatasetsCallback)]


def run_trial(
    config: Mapping[str, Any], *, prepared: Mapping[tuple[str, int], Prepared], folder: str, group: Group
) -> None:
    """Run the session of `config["spec"]`, then report the fields of its outcome.

    A trial that raises is reported as `failed` with its message, so that the sweep goes on and the search is told.

    Args:
        config: `{"spec": fields of a TrialSpec, "attempt": counted from 1}`.
        prepared: by family and SFT seed.
        folder: the sweep's.
        group: how trials run.
    """
    started = time.time()
    spec, attempt = TrialSpec(**config["spec"]), config["attempt"]
    models = prepared[spec.family, spec.sft_seed or 0]
    try:
        note_place(Path(folder), spec.trial_id, Place(attempt, ray.get_runtime_context().get_node_id(), os.getpid()))
        resume_from = last_checkpoint(Path(folder), spec.trial_id) if attempt > 1 else None
        if group.backend == "inprocess":
            with alive(Path(folder), spec.trial_id):
                outcome = group.session(spec, models, Path(folder), started=started, resume_from=resume_from)
            assert outcome is not None, "there is one rank"
        else:
            outcome = run_in_workers(
                spec, models, folder, group, started=started, attempt=attempt, resume_from=resume_from
            )
    except Exception as error:  # whatever it was, it is this trial's outcome
        outcome = failed(error)
    tune.report({"outcome": outcome.model_dump()})


def run_in_workers(
    spec: TrialSpec,
    prepared: Prepared,
    folder: str,
    group: Group,
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
        started: Unix time at which the trial was started.
        attempt: counts the worker groups of this trial that were started by a driver, from 1.
        resume_from: checkpoint that a former attempt left.
        loop: what each worker calls with the job, plain data; None: `train_in_worker`.

    Returns:
        The outcome of rank 0.
    """
    gpus, resources = group.placement.worker_gpus, group.placement.of_worker()
    job = {"spec": spec.model_dump(), "prepared": prepared.model_dump(), "folder": folder, "started": started}
    job["resume_from"] = None if resume_from is None else str(resume_from)
    trainer = DiskDataTrainer(
        train_in_worker if loop is None else loop,
        train_loop_config=job,
        scaling_config=ScalingConfig(num_workers=group.workers, use_gpu=gpus > 0, resources_per_worker=resources),
        torch_config=TorchConfig(backend="nccl" if gpus else "gloo"),
        run_config=RunConfig(
            name=f"{spec.trial_id}-{attempt}",  # Ray would go on from what it finds under the same name
            storage_path=str(Path(folder) / "checkpoints" / spec.trial_id),
            checkpoint_config=CheckpointConfig(num_to_keep=1),
            failure_config=FailureConfig(max_failures=group.max_failures, controller_failure_limit=CONTROLLER_FAILURES),
            logging_config=LoggingConfig(log_level="WARNING"),
        ),
    )
    return Outcome(**trainer.fit().return_value)


def train_in_worker(job: Mapping[str, Any]) -> dict[str, Any] | None:
    """Run a session in one worker of a Ray Train group, from the group's last checkpoint where there is one."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
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
        )

    with alive(Path(job["folder"]), job["spec"]["trial_id"]) if rank == 0 else nullcontext():
        if last is None:
            outcome = run(None if job["resume_from"] is None else Path(job["resume_from"]))
        else:
            with last.as_directory() as folder:
                outcome = run(Path(folder))
    return None if outcome is None else outcome.model_dump()
