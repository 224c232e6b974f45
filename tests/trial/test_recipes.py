"""Baselines of an embedded family, prepared, trained and scored as in a sweep, without Ray."""

import copy
import json
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from tqdm import tqdm

from omsweep.families.load import load_model, weights_hash
from omsweep.plan.design import draw
from omsweep.space.build import build_space
from omsweep.space.specs import preparation
from omsweep.trial.prepare.family import prepare_family
from omsweep.trial.prepare.reference import score_references
from omsweep.trial.session import run_session

pytestmark = pytest.mark.slow

CONTENT: dict[str, Any] = {
    "name": "baselines",
    "mode": "compare",
    "families": ["tiny-llama"],
    "space": {
        "algorithm": "dpo",
        "learning_rate": 4e-4,
        "beta": 0.1,
        "method": {
            "adamw": {"steps": {"choice": [3, 6]}},
            "lora": {"method": "adamw", "lora_rank": 4, "learning_rate": 4e-3},
            "replay": {"method": "adamw", "replay_share": 0.5, "nll_weight": 0.1},
        },
    },
    "design": {"blocks": 1, "cross": ["steps"]},
    "train": {"steps": 6, "batch_size": 8, "backend": "inprocess"},
    "evaluate": {"limit": 8, "samples": 2, "max_new_tokens": 24},
}


OWN_PAIR = {"chosen": "please start with soil .", "rejected": "soil ."}
LANDS = ("france", "spain", "italy", "japan")


def test_baselines_train_and_are_scored_as_ordinary_policies(tmp_path: Path) -> None:
    pairs = tmp_path / "pairs.jsonl"
    pairs.write_text(
        "".join(json.dumps(OWN_PAIR | {"prompt": f"what is the capital of {land} ?"}) + "\n" for land in LANDS)
    )
    content = copy.deepcopy(CONTENT)
    content["space"]["method"]["replay"]["preferences"] = str(pairs)
    space = build_space(content)
    wanted = preparation(space, "tiny-llama")
    prepared, _ = prepare_family(wanted, tqdm)
    score_references(wanted, prepared, tqdm)
    done = {}
    for spec in draw(space):
        outcome = run_session(spec, prepared, tmp_path, started=time.time())
        assert outcome is not None
        done[spec.label] = outcome
    assert {outcome.state for outcome in done.values()} == {"completed"}
    assert [done[label].steps for label in ("adamw-steps-3", "adamw-steps-6", "replay")] == [3, 6, 6]
    assert done["adamw-steps-3"].losses == done["adamw-steps-6"].losses[:3]
    start = load_model(prepared.sft)
    for label, outcome in done.items():
        policy = load_model(outcome.policy_path)
        assert outcome.weights_hash == weights_hash(outcome.policy_path)
        moved = torch.stack(
            [(a - b).norm() for a, b in zip(policy.parameters(), start.parameters(), strict=True)]
        ).norm()
        assert outcome.diagnostics["displacement"] == pytest.approx(moved.item(), rel=1e-5), label
        assert outcome.kl != 0.0
