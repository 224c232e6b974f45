"""The workers of a group under `backend: train`: one Ray Train run that takes jobs until a worker is lost."""

import asyncio
import logging
import os
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import ray
import ray.train
from ray.exceptions import RayTaskError
from ray.train import FailureConfig, LoggingConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer
from ray.train.v2._internal.callbacks import DatasetsCallback
from ray.train.v2._internal.execution import context
from ray.train.v2._internal.execution.controller import TrainController
from ray.train.v2._internal.execution.worker_group import RayTrainWorker, WorkerGroup

from omsweep.engine.placement import Worker
from omsweep.engine.workers.group import Group, Held, serve
from omsweep.engine.workers.mailbox import Closed, Numbered

CONTROLLER_FAILURES = 3
"""How often a run's controller may fail, a group of workers that does not start included; Ray's own limit is none."""
PREEMPTION_GRACE_SECONDS = 30.0
"""How long the workers that stay may still write the checkpoint of a node that was taken away."""


class DiskDataTrainer(TorchTrainer):
    """A TorchTrainer with two processes less: nothing hands out Ray data sets, for prepared data lie on disk, and the
    controller runs in the actor that calls `fit`.

    The dashboard, and what Ray puts before lines that are printed, call its workers by the run's name. Overrides
    private methods of the pinned Ray; the tests of this file guard it.
    """

    def _create_default_callbacks(self) -> list[Any]:
        return [made for made in super()._create_default_callbacks() if not isinstance(made, DatasetsCallback)]

    def _initialize_and_run_controller(self, **given: Any) -> Any:
        controller = controller_class(str(self.run_config.name))(**given)
        try:
            asyncio.run(controller.run())
            return controller.get_result()
        finally:  # workers that Ray Train could not end would go with a controller's process
            if (left := controller.get_worker_group()) is not None:
                left.abort()


def controller_class(name: str) -> type:
    """A controller whose workers are shown under a name."""
    worker = type(RayTrainWorker.__name__, (RayTrainWorker,), {"__repr__": lambda self: name})
    workers = type(WorkerGroup.__name__, (WorkerGroup,), {"_worker_cls": worker})
    return type(TrainController.__name__, (TrainController,), {"worker_group_cls": workers})


def run_workers(name: str, group: Group, worker: Worker, storage: str, mailbox: Any) -> None:
    """Run workers until there are no more jobs, or their nodes are to be taken away.

    Args:
        name: of the run; Ray goes on from what it finds under one that it knows.
        group: how trials run.
        worker: what each worker occupies, and how many there are.
        storage: folder for what Ray Train notes of the run.
        mailbox: handle of the group's actor.

    Raises:
        ray.train.TrainingFailedError: a worker was lost, or its session raised.
    """
    DiskDataTrainer(
        work,
        train_loop_config={"mailbox": mailbox, "session": group.session},
        scaling_config=ScalingConfig(
            num_workers=worker.count, use_gpu=worker.gpus > 0, resources_per_worker=worker.bundle()
        ),
        torch_config=TorchConfig(backend="nccl" if worker.gpus else "gloo"),
        run_config=RunConfig(
            name=name,
            storage_path=storage,
            failure_config=FailureConfig(
                max_failures=0,
                max_preemption_failures=0,
                controller_failure_limit=CONTROLLER_FAILURES,
                relax_collectives_on_preemption=True,
                preemption_grace_s=PREEMPTION_GRACE_SECONDS,
            ),
            logging_config=LoggingConfig(log_level="WARNING"),
        ),
    ).fit()


def work(given: Mapping[str, Any]) -> None:
    """What each worker of a run does: `given` holds the group's `mailbox` and `session`."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    context.logger.setLevel(logging.WARNING)  # else a line for each checkpoint: logging_config does not reach it
    logging.getLogger("omsweep").setLevel(logging.WARNING)  # Ray Train lets all through, and each worker says the same
    rank = ray.train.get_context().get_world_rank()
    with suppress(Closed):
        serve(Remote(given["mailbox"]), given["session"], rank=rank, interrupted=Notices(), leave=taken_away)


class Remote:
    """A group's mailbox for its workers."""

    def __init__(self, mailbox: Any) -> None:
        self._mailbox = mailbox

    def take(self, after: int, seconds: float) -> Numbered | None:
        """See `Mailbox.take`."""
        return self._get(self._mailbox.take, after, seconds)

    def give(self, number: int, answer: Any, held: Held) -> None:
        """See `WorkerGroup.give`."""
        self._get(self._mailbox.give, number, answer, held)

    def reach(self, number: int, rung: Any) -> None:
        """See `Mailbox.reach`."""
        self._get(self._mailbox.reach, number, rung)

    def decision(self, number: int, passed: int, seconds: float) -> bool | None:
        """See `Mailbox.decision`."""
        return self._get(self._mailbox.decision, number, passed, seconds)

    def _get(self, method: Any, *given: Any) -> Any:
        try:
            return ray.get(method.remote(*given))
        except RayTaskError as error:
            if isinstance(error.cause, Closed):
                raise error.cause from None
            raise


def taken_away() -> bool:
    """Whether a node of the group is to be taken away, as this worker knows: Ray Train asks all of them."""
    return context.get_train_context().preemption_context.preemption_info is not None


class Notices:
    """Asked after each step: True once in a job, at the first notice that a node of the group is to be taken away.

    Ray Train then ends the run, and another one goes on from the checkpoint that this causes. Asking is a meeting of
    all workers, so it is left out where Ray Train does not watch for such notices.
    """

    def __init__(self) -> None:
        self._watched = os.environ.get("RAY_TRAIN_ENABLE_PREEMPTION_WATCHER", "1") != "0"
        self._job = 0

    def __call__(self, number: int) -> bool:
        """Whether a checkpoint is to be written now."""
        if not self._watched or self._job == number or ray.train.get_preemption_info() is None:
            return False
        self._job = number
        return True
