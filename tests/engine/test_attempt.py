"""The Ray Train side of a trial: what is taken out of the pinned Ray is still there to be taken."""

import subprocess
import sys

import pytest
from ray.train.torch import TorchTrainer
from ray.train.v2._internal.callbacks import DatasetsCallback

from omsweep.engine.attempt import DiskDataTrainer


@pytest.mark.filterwarnings("ignore")
def test_only_the_data_set_actor_is_left_out() -> None:
    with_it = TorchTrainer(print)._create_default_callbacks()
    without = DiskDataTrainer(print)._create_default_callbacks()
    assert sum(isinstance(made, DatasetsCallback) for made in with_it) == 1
    assert [type(made) for made in without] == [type(m) for m in with_it if not isinstance(m, DatasetsCallback)]


def test_a_trials_process_knows_neither_search_spaces_nor_reports() -> None:
    code = "import sys, omsweep.engine.attempt, omsweep.trial.merge, omsweep.trial.prepare.family; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    rooms = {name.split(".")[1] for name in run.stdout.split() if name.startswith("omsweep.")}
    assert {"engine", "trial", "store", "evaluation"} <= rooms
    assert not rooms & {"space", "plan", "results", "report", "sinks", "cluster", "commands"}
