"""The bracket follows steady changes."""

import pytest

from omsweep.optim.flat import NARROWEST, NOWHERE, WIDEST


def test_a_bracket_follows_a_steady_change_and_widens_after_a_surprise() -> None:
    bracket = NOWHERE.after(1.0)
    assert bracket == (1.0, 1.0, WIDEST)
    for step in range(1, 12):
        bracket = bracket.after(0.9**step)
    assert bracket.middle == pytest.approx(0.9**12)
    assert bracket.width == NARROWEST
    assert bracket.after(0.9**12 * 1.02).width == pytest.approx(0.06)
    assert bracket.after(0.0) == (0.0, 0.0, WIDEST)
    assert bracket.after(0.0).after(2.0) == (2.0, 2.0, WIDEST)


@pytest.mark.parametrize("value", [0.0, float("inf"), float("nan")])
def test_a_threshold_that_is_no_number_is_got_over(value: float) -> None:
    bracket = NOWHERE.after(1.0).after(value).after(1.0).after(1.1)
    assert bracket.width == WIDEST
    assert bracket.after(1.2).middle > 0.0
