"""What a study is told of each end."""

from typing import Any

import pytest

from omsweep.plan.told import Told, told
from omsweep.space.build import build_space

WHOLE = {"state": "completed", "reward": 0.5, "tax": 2.0, "reward_se_items": 0.1, "tax_se_items": 3.0, "kl": 10.0}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, Told("COMPLETE", (0.5, 2.0), {"kl at most 20": -0.5}, (9.0, pytest.approx(0.01)))),
        ({"reward_se_items": None}, Told("COMPLETE", (0.5, 2.0), {"kl at most 20": -0.5}, (9.0, 0.0))),
        ({"state": "stopped"}, Told("PRUNED")),
        ({"state": "diverged"}, Told("FAIL")),
        ({"tax": float("nan")}, Told("FAIL")),
        ({"kl": None}, Told("FAIL")),
    ],
)
def test_the_table(search: dict[str, Any], change: dict[str, Any], expected: Told) -> None:
    search["search"]["constraints"] = {"kl": {"at_most": 20.0}}
    assert told(build_space(search), WHOLE | change) == expected
