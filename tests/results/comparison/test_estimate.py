"""Intervals and p-values of an estimate: Student's, their limits, and sizes when variances are unlike."""

import math

import numpy as np
import pytest
from scipy import stats

from omsweep.results.comparison.estimate import Estimate, satterthwaite


def estimate(value, *parts):
    return Estimate(value=value, parts=parts, outermost="sft_seed", units=3)


@pytest.mark.parametrize("freedom", [1.0, 2.0, 3.7, 100.0])
def test_one_part_is_students_t(freedom):
    found = estimate(1.5, (0.25, freedom))
    assert found.p_value == pytest.approx(2 * stats.t.sf(3.0, freedom))
    assert found.interval(0.8) == pytest.approx(stats.t.interval(0.8, freedom, loc=1.5, scale=0.5))


def test_a_part_of_nothing_changes_nothing():
    assert estimate(1.5, (0.25, 2.0), (0.0, 19.0)).p_value == estimate(1.5, (0.25, 2.0)).p_value


def test_several_parts_by_the_equation():
    p = estimate(2.0, (0.1, 2.0), (0.2, 19.0)).p_value
    assert 0.1 * stats.t.isf(p / 2, 2) ** 2 + 0.2 * stats.t.isf(p / 2, 19) ** 2 == pytest.approx(4.0)


def test_equal_degrees_of_freedom_add_like_one_part():
    assert estimate(2.0, (0.1, 5.0), (0.2, 5.0)).p_value == pytest.approx(estimate(2.0, (0.3, 5.0)).p_value)


def test_degrees_of_freedom_by_hand():
    assert satterthwaite([(1.0, 2.0), (1.0, 2.0)]) == (2.0, 4.0)
    assert satterthwaite([(3.0, 5.0), (0.0, 1.0)]) == (3.0, 5.0)
    assert satterthwaite([(0.0, 5.0), (0.0, 1.0)]) == (0.0, 1.0)


def test_what_shows_nothing_has_p_one_and_what_shows_all_has_none():
    assert estimate(1.0, (0.0, 2.0)).p_value == 1.0
    assert estimate(0.0, (1.0, 2.0)).p_value == 1.0
    assert estimate(1e200, (1.0, 9.0), (1.0, 19.0)).p_value == 0.0
    nothing = Estimate(value=1.0, parts=(), outermost=None, units=0)
    assert nothing.p_value == 1.0
    assert math.isnan(nothing.standard_error)
    assert math.isnan(nothing.degrees_of_freedom)


@pytest.mark.parametrize("ratio", [0.1, 1.0, 10.0])
@pytest.mark.parametrize("level", [0.05, 0.002])
def test_a_small_variance_by_chance_is_not_taken_for_certainty(ratio, level):
    """3 SFT seeds beside 20 groups of items, no effect: at most `level` of 40,000 are significant, plus 3 errors."""
    rng, draws = np.random.default_rng(0), 40_000
    seeds, items = ratio * rng.chisquare(2, draws) / 2, rng.chisquare(19, draws) / 19
    square = seeds * stats.t.isf(level / 2, 2) ** 2 + items * stats.t.isf(level / 2, 19) ** 2  # p_value <= level
    significant = (ratio + 1) * rng.normal(size=draws) ** 2 > square
    assert significant.mean() <= level + 3 * math.sqrt(level / draws)
    few = zip(seeds[:200], items[:200], strict=True)
    found = [estimate(math.sqrt(ratio + 1), (s, 2.0), (i, 19.0)).p_value <= level for s, i in few]
    assert found == ((ratio + 1) >= square[:200]).tolist()
