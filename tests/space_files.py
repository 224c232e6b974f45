"""Search spaces as plain data for the tests of this folder."""

import copy
from typing import Any

import pytest

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
