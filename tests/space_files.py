"""Search spaces as plain data, and what is drawn from them as flat settings."""

import copy
from pathlib import Path
from typing import Any

import pytest

from omsweep.plan.design import draw
from omsweep.space.search_space import SearchSpace
from omsweep.store.records import TrialSpec

COMPARE: dict[str, Any] = {
    "name": "t",
    "mode": "compare",
    "families": ["tiny-llama", "tiny-qwen2"],
    "space": {
        "algorithm": {"choice": ["dpo", "ipo", "kto"]},
        "learning_rate": {"loguniform": [3e-4, 1e-3]},
        "beta": {"choice": [0.05, 0.1]},
        "method": {
            "adamw": {},
            "ondare": {
                "semantics": "equations",
                "tau_travel": {"loguniform": [0.01, 0.3]},
                "density": {"uniform": [0.3, 1.0]},
            },
            "mine": {"method": "onties", "semantics": "released", "alpha": 1e-4, "learning_rate": 2e-4},
        },
    },
    "design": {"blocks": 6, "seeds": 2, "seed": 3},
}


def stand_ins(file: Path) -> list[str]:
    """Overrides in place of the data that the user of a search space of the project brings."""
    data = ["evaluate.data_root=samples", "evaluate.reward.prompts=tiny", "evaluate.allow_code_execution=true"]
    return data if file.parent.name == "paper" else []


@pytest.fixture
def compare() -> dict[str, Any]:
    return copy.deepcopy(COMPARE)


@pytest.fixture
def search(compare: dict[str, Any]) -> dict[str, Any]:
    del compare["design"]
    return compare | {
        "mode": "search",
        "families": ["tiny-llama"],
        "search": {"algorithm": "tpe", "trials": 30, "seed": 1},
        "baselines": {"learning_rate": [4e-4, 8e-4], "beta": 0.1},
    }


def flat(spec: TrialSpec) -> dict[str, Any]:
    """Everything a trial's record will say of it before it runs: identity and settings in one mapping."""
    return {**spec.params, **{name: value for name, value in spec.identity.items() if name != "params"}}


def drawn(space: SearchSpace) -> list[dict[str, Any]]:
    """The trials of a compare sweep, flat."""
    return [flat(spec) for spec in draw(space)]
