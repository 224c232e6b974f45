"""What is taken out of the pinned Ray Train is still there to be taken."""

import pickle
from typing import Any
from unittest import mock

import pytest
from ray import cloudpickle
from ray.train import RunConfig
from ray.train.torch import TorchTrainer
from ray.train.v2._internal.callbacks import DatasetsCallback
from ray.train.v2._internal.execution.controller import TrainController
from ray.train.v2.api import data_parallel_trainer

from omsweep.engine.workers.train_run import DiskDataTrainer


@pytest.mark.filterwarnings("ignore")
def test_only_the_data_set_actor_is_left_out() -> None:
    with_it = TorchTrainer(print)._create_default_callbacks()
    without = DiskDataTrainer(print)._create_default_callbacks()
    assert sum(isinstance(made, DatasetsCallback) for made in with_it) == 1
    assert [type(made) for made in without] == [type(m) for m in with_it if not isinstance(m, DatasetsCallback)]


def test_controller_and_workers_are_called_by_the_runs_name() -> None:
    made = []

    def remote(**_: Any) -> Any:
        def actor(cls: type) -> Any:
            made.append(pickle.loads(cloudpickle.dumps(cls)))  # as it comes to the actor's process
            raise InterruptedError

        return actor

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(data_parallel_trainer.ray, "remote", remote)
        patch.setattr(data_parallel_trainer.ray, "get_runtime_context", mock.MagicMock())
        with pytest.raises(InterruptedError):
            DiskDataTrainer(print, run_config=RunConfig(name="s-t0-1"))._initialize_and_run_controller()
    (controller,) = made
    worker = controller.worker_group_cls._worker_cls
    assert [repr(cls.__new__(cls)) for cls in (controller, worker)] == ["s-t0-1"] * 2
    assert [cls.__name__ for cls in (controller, worker)] == ["TrainController", "RayTrainWorker"]
    assert data_parallel_trainer.TrainController is TrainController
