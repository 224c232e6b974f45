"""What is taken out of the pinned Ray Train is still there to be taken."""

import inspect
import os
import pickle
from typing import Any
from unittest import mock

import pytest
from ray import cloudpickle
from ray.train import RunConfig
from ray.train.torch import TorchTrainer
from ray.train.v2._internal.callbacks import DatasetsCallback
from ray.train.v2._internal.execution.controller import TrainController
from ray.train.v2._internal.execution.worker_group import RayTrainWorker, WorkerGroup

from omsweep.engine.workers import train_run
from omsweep.engine.workers.train_run import DiskDataTrainer, controller_class


@pytest.mark.filterwarnings("ignore")
def test_only_the_data_set_actor_is_left_out() -> None:
    with_it = TorchTrainer(print)._create_default_callbacks()
    without = DiskDataTrainer(print)._create_default_callbacks()
    assert sum(isinstance(made, DatasetsCallback) for made in with_it) == 1
    assert [type(made) for made in without] == [type(m) for m in with_it if not isinstance(m, DatasetsCallback)]


def test_workers_are_called_by_the_runs_name() -> None:
    made = pickle.loads(cloudpickle.dumps(controller_class("s-t0-1")))  # as it comes to an actor's process
    worker = made.worker_group_cls._worker_cls
    assert (repr(worker.__new__(worker)), worker.__name__) == ("s-t0-1", "RayTrainWorker")


def test_the_controller_runs_where_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    class Controller:
        def __init__(self, **given: Any) -> None:
            self.given, self.ran, self.left = given, 0, mock.Mock()

        async def run(self) -> None:
            self.ran = os.getpid()

        def get_result(self) -> Any:
            return self

        def get_worker_group(self) -> Any:
            return self.left

    monkeypatch.setattr(train_run, "controller_class", lambda name: Controller)
    trainer = DiskDataTrainer(print, run_config=RunConfig(name="s-t0-1"))
    made = trainer._initialize_and_run_controller(callbacks=[])
    assert (made.given, made.ran) == ({"callbacks": []}, os.getpid())
    made.left.abort.assert_called_once_with()
    assert TrainController.get_worker_group
    assert inspect.iscoroutinefunction(TrainController.run)
    assert not inspect.iscoroutinefunction(TrainController.get_result)
    assert TrainController.worker_group_cls is WorkerGroup
    assert WorkerGroup._worker_cls is RayTrainWorker
