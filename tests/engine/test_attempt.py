"""What Tune is told of a trial."""

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from datasets import Dataset
from ray.exceptions import ActorDiedError, GetTimeoutError

from omsweep.engine.attempt import Attempt, flat, passes_a_step
from omsweep.engine.workers import group as group_module
from omsweep.engine.workers.mailbox import News
from omsweep.plan.design import draw
from omsweep.space.build import build_space
from omsweep.store.records import Outcome, Prepared, TrialSpec
from omsweep.trial.progress import progress_file

PREPARED = Prepared(base="base", sft="sft", weights_hash="ab", dtype="float32")


def test_a_trials_process_knows_neither_search_spaces_nor_reports() -> None:
    entered = "omsweep.engine.attempt, omsweep.engine.workers.train_run, omsweep.trial.merge"
    code = f"import sys, {entered}, omsweep.trial.prepare.family; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    rooms = {name.split(".")[1] for name in run.stdout.split() if name.startswith("omsweep.")}
    assert {"engine", "trial", "store", "evaluation"} <= rooms
    assert not rooms & {"space", "plan", "results", "report", "sinks", "cluster", "commands"}


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


class Told:
    """A group as its attempt sees it: what is called, and answers that are there at once."""

    def __init__(self, *answers: Any) -> None:
        self.called: list[Any] = []
        self._answers = list(answers)

    def __getattr__(self, name: str) -> Any:
        def remote(*given: Any) -> Any:
            self.called.append((name, *given))
            return self._answers.pop(0) if name in ("put", "news") and self._answers else None

        return mock.Mock(remote=remote)


def attempted(group: Any, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Attempt:
    """An attempt at a trial whose group answers with what it is given; an exception among it is raised."""

    def get(reference: Any, timeout: float | None = None) -> Any:
        if isinstance(reference, Exception):
            raise reference
        return reference

    monkeypatch.setattr(group_module.ray, "get", get)
    spec = TrialSpec(trial_id="t0", family="f", train={})
    return Attempt(spec, PREPARED, folder, group, attempt=2)


def write(file: Path, mode: str, first_step: int, *losses: float | None) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open(mode) as opened:
        opened.write(json.dumps({"first_step": first_step, "losses": losses}) + "\n")


def test_where_training_is_is_told_from_what_this_attempt_wrote(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = progress_file(tmp_path, "t0")
    write(file, "w", 1, *[0.9] * 50)  # a former attempt's
    quiet = GetTimeoutError()
    one = attempted(Told(7, quiet, quiet, quiet), tmp_path, monkeypatch)
    write(file, "w", 11, 0.7, 0.6)
    rows = [one.row()]
    write(file, "a", 13, 0.5, None)
    rows.append(one.row())
    assert [(row["state"], row["step"]) for row in rows] == [("running", 12), ("running", 14)]
    assert rows[0]["loss"] == 0.6
    assert math.isnan(rows[1]["loss"])
    assert math.isnan(rows[0]["reward"])
    assert one.outcome is None


def test_an_attempt_ends_with_its_answer_or_with_its_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answered = attempted(Told(7, News(7, answer={"state": "completed", "reward": 0.5})), tmp_path, monkeypatch)
    assert (answered.row()["reward"], answered.outcome) == (0.5, Outcome(state="completed", reward=0.5))
    lost = attempted(Told(7, ActorDiedError()), tmp_path, monkeypatch)
    lost.row()
    assert lost.outcome is not None
    assert (lost.outcome.state, lost.outcome.reason) == ("failed", "process lost")


def test_at_a_rung_tune_is_told_what_would_be_the_end_and_its_next_question_means_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rung = {"outcome": {"state": "stopped", "steps": 4, "reward": 0.1}, "rung": {"level": 0, "step": 4}}
    group = Told(7, News(7, rung=rung), News(7, answer={"state": "completed"}))
    one = attempted(group, tmp_path, monkeypatch)
    row = one.row()
    assert (row["state"], row["step"], row["reward"]) == ("running", 4, 0.1)
    assert Outcome.model_validate_json(row["outcome"]).state == "stopped"
    assert json.loads(row["rung"]) == {"level": 0, "step": 4}
    assert not [call for call in group.called if call[0] == "decide"]
    one.row()
    assert ("decide", 7, True) in group.called
    assert one.outcome is not None


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
