"""The Tune trainable: one trial in a Ray Train worker group (`train`) or in the Tune actor itself (`inprocess`)."""

import os
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import ray.train
from ray import tune
from ray.train import Checkpoint, CheckpointConfig, FailureConfig, LoggingConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer
from ray.train.v2._internal.callbacks import DatasetsCallback

from omsweep.space.resources import Placement
from omsweep.trial.session import train_and_score


class DiskDataTrainer(TorchTrainer):
    """A TorchTrainer without the actor that hands out Ray data sets, a process per trial: prepared data lie on disk.

    Overrides a private method of the pinned Ray; the tests of this file guard it.
    """

    def _create_default_callbacks(self) -> list[Any]:
        return [made for made in super()._create_default_callbacks() if not isinstance(made, DatasetsCallback)]


def run_trial(config: Mapping[str, Any], *, shared: Mapping[str, Any]) -> None:
    """Train and score `config["sample"]`, then report the fields of its trial object.

    A trial that raises is reported as `failed` with its message, so that the sweep goes on and the search is told.

    Args:
        config: `{"sample": flat sample}`.
        shared: plain data common to all trials: `content`, `prepared` by family and SFT seed, `folder`, `placement`.
    """
    sample = config["sample"]
    job = {
        "sample": sample,
        "content": shared["content"],
        "prepared": shared["prepared"][sample["family"], sample["sft_seed"]],
        "folder": shared["folder"],
        "started": time.time(),
    }
    train = shared["content"]["train"]
    try:
        if train["backend"] == "inprocess":
            outcome = train_and_score(job)
        else:
            outcome = run_in_workers(job, train, shared["placement"])
    except Exception as error:  # whatever it was, it is this trial's outcome
        outcome = {"state": "failed", "error": failure_message(error)}
    tune.report({"outcome": outcome})


def failure_message(error: BaseException) -> str:
    """What went wrong, in one line: of a worker group the first worker's own error."""
    workers = getattr(error, "worker_failures", None)
    if workers:
        error = next(iter(workers.values()))
    cause = getattr(error, "cause", None)
    if isinstance(cause, BaseException):
        error = cause
    last = traceback.format_exception_only(error)[-1].strip()
    return last if last else type(error).__name__


def run_in_workers(
    job: Mapping[str, Any],
    train: Mapping[str, Any],
    placement: Mapping[str, Any],
    loop: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
) -> dict[str, Any]:
    """Run a trial in a Ray Train worker group of its own.

    Args:
        job: as of `omsweep.trial.session.train_and_score`.
        train: the resolved `train` section.
        placement: fields of `omsweep.space.resources.Placement`.
        loop: what each worker calls with the job; None: `train_in_worker`.

    Returns:
        What `loop` returned on rank 0.
    """
    gpus, resources = placement["worker_gpus"], Placement(**placement).of_worker()
    trainer = DiskDataTrainer(
        train_in_worker if loop is None else loop,
        train_loop_config=dict(job),
        scaling_config=ScalingConfig(num_workers=train["workers"], use_gpu=gpus > 0, resources_per_worker=resources),
        torch_config=TorchConfig(backend="nccl" if gpus else "gloo"),
        run_config=RunConfig(
            name=job["sample"]["trial_id"],
            storage_path=str(Path(job["folder"]) / "checkpoints"),
            checkpoint_config=CheckpointConfig(num_to_keep=1),
            failure_config=FailureConfig(max_failures=train["max_failures"]),
            logging_config=LoggingConfig(log_level="WARNING"),
        ),
    )
    return trainer.fit().return_value


def train_in_worker(job: Mapping[str, Any]) -> dict[str, Any]:
    """Train and score in one worker of a Ray Train group, from the group's last checkpoint where there is one."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    rank = ray.train.get_context().get_world_rank()
    last = ray.train.get_checkpoint()

    def report(step: int, folder: Path) -> None:
        checkpoint = Checkpoint.from_directory(str(folder)) if rank == 0 else None
        ray.train.report({"step": step}, checkpoint=checkpoint)

    if last is None:
        return train_and_score(job, rank=rank, on_checkpoint=report)
    with last.as_directory() as folder:
        return train_and_score(job, rank=rank, on_checkpoint=report, resume_from=Path(folder))
