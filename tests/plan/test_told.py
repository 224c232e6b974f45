"""What a study is told of each end; constraints are distances in shares of the bound, checked when the file is read."""

from typing import Any

import pytest

from omsweep.plan.told import Told, told, violations
from omsweep.space.build import build_space
from omsweep.space.knobs import SpaceError
from omsweep.space.schema import Bound

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


def test_distances_are_shares_of_the_bound() -> None:
    bounds = {"kl": Bound(at_most=20.0), "length_ratio": Bound(at_least=0.5, at_most=2.0), "tax": Bound(at_most=0.0)}
    found = violations(bounds, {"kl": 25.0, "length_ratio": 0.25, "tax": -3.0})
    assert found == {
        "kl at most 20": 0.25,
        "length_ratio at most 2": -0.875,
        "length_ratio at least 0.5": 0.5,
        "tax at most 0": -3.0,
    }


@pytest.mark.parametrize("value", [None, float("nan")])
def test_a_number_that_does_not_exist_is_in_no_bound(value: Any) -> None:
    assert violations({"kl": Bound(at_most=20.0)}, {"kl": value}) is None


@pytest.mark.parametrize(
    ("constraints", "message"),
    [
        ({"kI": {"at_most": 1.0}}, "search.constraints: must be bounds on reward, .*kl.*'kI' is none of them"),
        ({"reward_se_items": {"at_most": 1.0}}, "'reward_se_items' is none"),
        ({"kl_report": {"at_most": 1.0}}, "'kl_report' is none"),
        ({"kl": {}}, "search.constraints.kl: must be at_most or at_least"),
        ({"kl": {"at_most": 1.0, "at_least": 2.0}}, "at_least a number below at_most"),
        ({"kl": {"max": 1.0}}, "unknown key 'max'; allowed: at_most, at_least"),
    ],
)
def test_a_bound_that_cannot_hold_is_refused(search: dict[str, Any], constraints: Any, message: str) -> None:
    search["search"]["constraints"] = constraints
    with pytest.raises(SpaceError, match=message):
        build_space(search)
