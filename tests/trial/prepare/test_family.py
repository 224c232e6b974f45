"""What stops the preparation before anything is trained: suites and prompts that cannot be used, prompts in both."""

import json
from pathlib import Path
from typing import Any

import pytest
from tqdm import tqdm

from omsweep.engine.run import run_sweep
from omsweep.evaluation.settings import REWARD_PROMPTS, TAX_SUITES
from omsweep.families.tiny.architecture import random_family
from omsweep.preferences.turns import TOO_LONG
from omsweep.space.build import build_space
from omsweep.space.specs import preparation
from omsweep.trial.prepare.family import prepare_family


def never(*_: Any, **__: Any) -> Any:
    raise AssertionError("no model may be prepared")


def prepare(content: dict[str, Any], folder: Path) -> Any:
    model = str(random_family(folder / "model", hidden_size=32, intermediate_size=32))
    content |= {"families": [{"name": "mine", "base": model, "sft": model}]}
    content["space"]["method"] = {"adamw": {}}
    return prepare_family(preparation(build_space(content), "mine"), tqdm)


def written(path: Path, records: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return str(path)


def test_reward_prompts_and_suites_are_read_before_any_model(
    compare: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("omsweep.families.load.prepare", never)
    (tmp_path / "prompts.jsonl").write_text('{"prompt": "a", "split": "search"}\n{"prompt": "b"\n')
    compare["evaluate"] = {"reward": {"scorer": "tiny", "prompts": str(tmp_path / "prompts.jsonl")}}
    with pytest.raises(ValueError, match=r"prompts\.jsonl: line 2 is not JSON"):
        prepare(compare, tmp_path)
    compare["evaluate"]["reward"]["prompts"] = written(
        tmp_path / "one.jsonl", [{"prompt": "a", "split": "search"}, {"prompt": "b", "split": "search"}]
    )
    with pytest.raises(ValueError, match=r"one\.jsonl: no prompt in split 'report', 2 in all"):
        prepare(compare, tmp_path)
    (tmp_path / "suite").mkdir()
    compare["evaluate"] = {"tax": str(tmp_path / "suite")}
    with pytest.raises(ValueError, match=r"tax suite .*suite: holds no lm-eval task"):
        prepare(compare, tmp_path)


def test_own_preference_data_may_hold_nothing_that_policies_are_scored_on(
    compare: dict[str, Any], tmp_path: Path
) -> None:
    for file, kind in (
        (TAX_SUITES["tiny"] / "data" / "knowledge.jsonl", "tax item"),
        (REWARD_PROMPTS["tiny"], "reward"),
    ):
        scored = json.loads(file.read_text().splitlines()[0])
        asked = ["Human: Something else ?\n\nAssistant:", f"Human: {scored['prompt'].upper()}\n\nAssistant:"]
        pairs = [{"id": str(n), "prompt": text, "chosen": "yes .", "rejected": "no ."} for n, text in enumerate(asked)]
        compare["preferences"] = written(tmp_path / f"{file.stem}.jsonl", pairs)
        refused = pytest.raises(
            ValueError, match=f"of 2 prompts 1 are the same as .* record 1 and {kind}.*{scored['id']}"
        )
        with refused:
            prepare(compare, tmp_path / file.stem)
        with refused:
            run_sweep(build_space(compare), "s", tmp_path, None)
        assert not (tmp_path / "s").exists()


def test_prompts_that_leave_no_room_are_refused_with_their_count_and_the_table(
    compare: dict[str, Any], tmp_path: Path
) -> None:
    pairs = [{"prompt": f"say {'blue ' * (60 * (n > 0))}", "chosen": "yes", "rejected": "no"} for n in range(12)]
    compare["preferences"] = {"path": written(tmp_path / "pairs.jsonl", pairs)}
    compare["train"] = {"steps": 2, "batch_size": 2, "max_length": 32}
    message = r"pairs.jsonl: 11 of 12 records are dropped and .*\n +11  dropped: the prompt alone .*first: record 1\)"
    with pytest.raises(ValueError, match=message):
        prepare(compare, tmp_path)
    compare["preferences"]["max_dropped_share"] = 0.95
    compare["space"]["algorithm"] = "dpo"
    compare["evaluate"] = {"limit": 1, "samples": 1, "max_new_tokens": 2}
    models, _ = prepare(compare, tmp_path)
    [summary] = models.records
    assert (summary["records"], summary["taken"], summary["dropped"]) == (12, 1, {TOO_LONG: 11})
