"""What Tune is told of a trial, and what is taken out of the pinned Ray Train is still there to be taken."""

import json
import math
import pickle
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from datasets import Dataset
from ray import cloudpickle
from ray.train import RunConfig
from ray.train.torch import TorchTrainer
from ray.train.v2._internal.callbacks import DatasetsCallback
from ray.train.v2._internal.execution.controller import TrainController
from ray.train.v2.api import data_parallel_trainer

from omsweep.engine import attempt
from omsweep.engine.attempt import DiskDataTrainer, flat, passes_a_step, reporting
from omsweep.plan.design import draw
from omsweep.space.build import build_space
from omsweep.store.records import Outcome, Prepared

PREPARED = Prepared(base="base", sft="sft", weights_hash="ab", dtype="float32")


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


def test_a_row_is_flat_and_has_nan_for_what_does_not_exist() -> None:
    scored = {"reward": 0.5, "tax": -1.0, "kl": 2.0, "seconds": {"train": 3.0, "evaluate": None}, "policy_path": "p"}
    row = flat(Outcome(state="completed", steps=30, losses=(0.7, 0.6), scores={"math": 0.1}, **scored), 0.25)
    told = {"reward": 0.5, "tax": -1.0, "kl": 2.0, "loss": 0.6, "step": 30, "epoch": 7.5, "state": "completed"}
    told |= {"seconds/train": 3.0, "policy_path": "p", "timesteps_total": 30}
    assert {name: row[name] for name in told} == told
    assert math.isnan(row["seconds/evaluate"])
    assert math.isnan(row["tax_worst"])
    assert not [name for name, value in row.items() if isinstance(value, dict | list | tuple)]


def test_every_row_of_a_trial_has_the_same_columns() -> None:
    running, failed = flat(Outcome(state="stopped", steps=1, losses=(None,)), 0.1), flat(Outcome(state="failed"), 0.1)
    assert running.keys() == failed.keys() | {"timesteps_total"}
    assert all(math.isnan(failed[name]) for name in ("reward", "loss", "step", "epoch"))
    assert math.isnan(running["loss"])


def test_where_training_is_is_told_from_what_this_attempt_wrote(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[dict[str, Any]] = []
    monkeypatch.setattr(attempt.tune, "report", told.append)
    file = tmp_path / "progress.jsonl"

    def write(mode: str, first_step: int, *losses: float | None) -> None:
        with file.open(mode) as opened:
            opened.write(json.dumps({"first_step": first_step, "losses": losses}) + "\n")
        time.sleep(0.1)

    write("w", 1, *[0.9] * 50)  # a former attempt's
    with reporting(file, 0.5, seconds=0.01):
        time.sleep(0.1)
        assert told == []
        write("w", 11, 0.7, 0.6)
        write("a", 13, 0.5, None)
    assert [(row["state"], row["step"], row["epoch"]) for row in told] == [("running", 12, 6.0), ("running", 14, 7.0)]
    assert told[0]["loss"] == 0.6
    assert math.isnan(told[1]["loss"])
    assert math.isnan(told[0]["reward"])


def test_passes_over_the_data_count_the_rows_that_were_prepared(compare: dict[str, Any], tmp_path: Path) -> None:
    compare["space"]["method"] = {"adamw": {}, "replay": {"method": "adamw", "replay_share": 0.25}}
    compare["space"]["algorithm"] = {"choice": ["dpo", "kto"]}
    compare["space"]["method"]["replay"]["algorithm"] = "dpo"
    compare["train"] = {"steps": 5, "batch_size": 8, "backend": "inprocess"}
    Dataset.from_dict({"prompt_ids": [[1]] * 60}).save_to_disk(tmp_path / "paired", num_shards=2)
    Dataset.from_dict({"prompt_ids": [[1]] * 120}).save_to_disk(tmp_path / "unpaired")
    folders = {"dpo": str(tmp_path / "paired"), "kto": str(tmp_path / "unpaired")}
    shares = {}
    for spec in draw(build_space(compare)):
        prepared = PREPARED.model_copy(update={"data": {spec.data: folders}})
        shares[spec.label, spec.algorithm] = passes_a_step(spec, prepared)
        assert math.isnan(passes_a_step(spec, PREPARED))
    assert shares == {("adamw", "dpo"): 8 / 60, ("adamw", "kto"): 8 / 120, ("replay", "dpo"): 6 / 60}
