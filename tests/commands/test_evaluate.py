"""`omsweep evaluate`: what a sweep found of its own policies is found again, to the last bit."""

import json
import shutil
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from tqdm import tqdm

from omsweep.cli import main
from omsweep.plan.design import draw
from omsweep.space.build import build_space
from omsweep.space.specs import preparation
from omsweep.store.records import TrialRecord
from omsweep.trial.prepare.family import prepare_family
from omsweep.trial.prepare.reference import score_references
from omsweep.trial.session import run_session
from tests.small_sweeps import SmallSweep
from tests.written_sweep import WrittenSweep

CONTENT: dict[str, Any] = {
    "name": "s",
    "mode": "compare",
    "families": ["tiny-llama"],
    "space": {
        "algorithm": "dpo",
        "learning_rate": 4e-4,
        "beta": 0.1,
        "method": {"lora": {"method": "adamw", "lora_rank": 4, "learning_rate": 4e-3}},
    },
    "design": {"blocks": 1},
    "train": {"steps": 4, "batch_size": 8, "backend": "inprocess"},
    "evaluate": {"limit": 8, "samples": 2, "max_new_tokens": 24, "report_split": "all"},
}


def evaluate(sweep: WrittenSweep, checkpoint: str, *options: str) -> int:
    return main(["evaluate", checkpoint, "--sweep", sweep.name, "--storage", str(sweep.storage), *options])


@pytest.fixture
def trained(tmp_path: Path) -> tuple[WrittenSweep, TrialRecord]:
    """A sweep of one LoRA policy, trained and scored on both splits."""
    space = build_space(CONTENT)
    wanted = preparation(space, "tiny-llama")
    prepared, table = prepare_family(wanted, tqdm)
    score_references(wanted, prepared, tqdm)
    sweep = WrittenSweep(tmp_path / "runs", "s")
    sweep.create(space.resolved())
    sweep.write_reference_scores("tiny-llama", table)
    reference = prepared.reference.to_json()
    sweep.happened(
        "prepared", family="tiny-llama", sft_seed=None, reference=reference, models=prepared.model_dump(mode="json")
    )
    (spec,) = draw(space)
    outcome = run_session(spec, prepared, sweep.path, started=time.time())
    assert outcome is not None
    assert outcome.state == "completed"
    content = spec.to_json()
    sweep.happened("proposed", content.pop("trial_id"), trial=content)
    record = TrialRecord.of(spec, outcome)
    sweep.append(record)
    return sweep, record


@pytest.mark.slow
def test_a_policy_of_the_sweep_gets_its_own_numbers_exported_or_not(
    trained: tuple[WrittenSweep, TrialRecord], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sweep, record = trained
    out = tmp_path / "out"
    assert main(["export", "s", "--storage", str(sweep.storage), "--trial", record.trial_id, "--output", str(out)]) == 0
    assert not list(out.glob("adapter*")), "an adapter is merged into the weights"
    capsys.readouterr()
    assert evaluate(sweep, str(out), "--json", "--output", str(tmp_path / "items.parquet")) == 0
    said = capsys.readouterr()
    found = json.loads(said.out)
    assert {name: found[name] for name in ("reward", "reward_se_items", "tax", "tax_se_items", "kl", "scores")} == {
        name: getattr(record, name) for name in ("reward", "reward_se_items", "tax", "tax_se_items", "kl", "scores")
    }
    assert found["trial"] == record.trial_id
    assert "reward and tax are the same to the last digit" in said.err
    kept = sweep.scores(record.trial_id)
    mine = kept[kept["split"] == "search"].reset_index(drop=True)
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "items.parquet"), mine, check_exact=True)

    assert evaluate(sweep, str(record.policy_path), "--split", "report", "--json") == 0
    on_report = json.loads(capsys.readouterr().out)
    assert (on_report["reward"], on_report["tax"]) == (record.reward_report, record.tax_report)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--family", "other"], "--family must be one of mine; got 'other'"),
        (["--output", "items.txt"], "--output must end with .parquet, .csv, .jsonl, got 'items.txt'"),
        (["--output", "no/where.csv"], "--output: there is no folder no"),
    ],
)
def test_what_is_wrong_is_said_before_a_model_is_loaded(
    small_sweep: SmallSweep, capsys: pytest.CaptureFixture[str], options: list[str], said: str
) -> None:
    assert evaluate(small_sweep, str(small_sweep.sft), *options) == 2
    assert said in capsys.readouterr().err


def test_a_checkpoint_that_is_none_is_refused(
    small_sweep: SmallSweep, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    assert evaluate(small_sweep, str(tmp_path / "empty")) == 2
    assert "empty" in capsys.readouterr().err


def test_an_sft_model_that_was_replaced_is_refused(small_sweep: SmallSweep, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copyfile(small_sweep.base / "model.safetensors", small_sweep.sft / "model.safetensors")
    assert evaluate(small_sweep, str(small_sweep.path / "policies" / "a")) == 2
    assert "the SFT model in" in capsys.readouterr().err
