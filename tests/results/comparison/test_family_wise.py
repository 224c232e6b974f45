"""Holm's procedure by hand and by the closed test it is a shortcut of; verdicts by sign; errors kept."""

import itertools

import numpy as np
import pytest

from omsweep.results.comparison.clusters import clustered_mean
from omsweep.results.comparison.estimate import Estimate
from omsweep.results.comparison.family_wise import holm, verdicts


def estimate(value, standard_error=1.0, *, freedom=1e6, outermost="sft_seed"):
    parts = () if outermost is None else ((standard_error**2, freedom),)
    return Estimate(value=value, parts=parts, outermost=outermost, units=3)


def names(estimates, weights=None):
    return [verdict for verdict, _ in verdicts(estimates, weights)]


def by_closed_testing(p_values, weights):
    """The largest weighted Bonferroni p-value of all intersections that hold the hypothesis."""
    m = len(p_values)
    sets = [s for size in range(1, m + 1) for s in itertools.combinations(range(m), size)]
    value = {s: min(p_values[i] / weights[i] for i in s) * sum(weights[i] for i in s) for s in sets}
    return [min(1.0, max(value[s] for s in sets if i in s)) for i in range(m)]


def test_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.9, 0.8]) == pytest.approx([1.0, 1.0])
    assert holm([0.02, 0.02], [3, 1]) == pytest.approx([0.02 / 3 * 4, 0.02 / 3 * 4])
    assert holm([]).shape == (0,)


@pytest.mark.parametrize("seed", range(10))
def test_against_closed_testing(seed):
    rng = np.random.default_rng(seed)
    p_values, weights = rng.random(5) ** 3, rng.integers(1, 5, size=5)
    assert holm(p_values, weights) == pytest.approx(by_closed_testing(p_values, weights))
    assert holm(p_values) == pytest.approx(by_closed_testing(p_values, np.ones(5)))


def test_order_and_scale_of_weights_do_not_matter():
    p_values, weights, order = np.array([0.01, 0.2, 0.03]), np.array([1, 2, 5]), [2, 0, 1]
    assert holm(p_values[order], 10 * weights[order]) == pytest.approx(holm(p_values, weights)[order])


def test_the_sign_decides():
    assert names([estimate(5), estimate(-5), estimate(1)]) == ["better", "worse", "not shown"]
    assert names([]) == []


def test_more_comparisons_ask_for_more():
    assert names([estimate(2.3)]) == ["better"]
    assert names([estimate(2.3), *[estimate(0)] * 5])[0] == "not shown"
    assert names([estimate(2.3), *[estimate(0)] * 5], weights=[20, 1, 1, 1, 1, 1])[0] == "better"


@pytest.mark.parametrize("outermost", [None, "item"])
def test_item_noise_ranks_nothing(outermost):
    assert names([estimate(9, outermost=outermost)]) == ["not shown"]


def test_false_verdicts_stay_within_alpha():
    """12 correlated comparisons over 3 SFT seeds without any difference, 1000 reports: at most 64, the 97.5 % point."""
    rng, false = np.random.default_rng(0), 0
    for _ in range(1000):
        values = rng.normal(size=(12, 3)) + rng.normal(size=3)
        false += any(v != "not shown" for v in names([clustered_mean(v, {"sft_seed": range(3)}) for v in values]))
    assert false <= 64
