"""The Ray Train side of a trial: what is taken out of the pinned Ray is still there to be taken."""

import pytest
from ray.train.torch import TorchTrainer
from ray.train.v2._internal.callbacks import DatasetsCallback

from omsweep.engine.trainable import DiskDataTrainer, failure_message


@pytest.mark.filterwarnings("ignore")
def test_only_the_data_set_actor_is_left_out() -> None:
    with_it = TorchTrainer(print)._create_default_callbacks()
    without = DiskDataTrainer(print)._create_default_callbacks()
    assert sum(isinstance(made, DatasetsCallback) for made in with_it) == 1
    assert [type(made) for made in without] == [type(m) for m in with_it if not isinstance(m, DatasetsCallback)]


def test_a_failure_is_its_type_and_message() -> None:
    assert failure_message(ValueError("too long")) == "ValueError: too long"
