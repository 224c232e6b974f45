"""Constraints: distances in shares of the bound, by hand; names and bounds are checked when the file is read."""

from typing import Any

import pytest

from omsweep.plan.constraints import violations
from omsweep.space.build import build_space
from omsweep.space.knobs import SpaceError
from omsweep.space.schema import Bound


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
