"""Shares, Holm's procedure and equivalence by hand; verdicts by sign; false ones kept to their rate."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import t

from omsweep.results.comparison.clusters import clustered_mean
from omsweep.results.comparison.contrasts import ALL_FAMILIES, PRIMARY, Line, holm, judged, shares
from omsweep.results.comparison.estimate import Estimate


def estimate(value, standard_error=1.0, *, freedom=1e6, outermost="sft_seed"):
    parts = () if outermost is None else ((standard_error**2, freedom),)
    return Estimate(value=value, parts=parts, outermost=outermost, units=3)


def line(found, **changes):
    known = {"measure": PRIMARY, "family": ALL_FAMILIES, "arm": "a", "against": "b", "blocks": 3}
    return Line(estimate=found, **(known | changes))


def verdicts(estimates, delta=0.1):
    return [one.verdict for one in judged([line(e) for e in estimates], ["f", "g"], delta, len(estimates))]


def by_closed_testing(p_values):
    """The largest Bonferroni p-value of all intersections that hold the hypothesis."""
    m = len(p_values)
    sets = [s for size in range(1, m + 1) for s in itertools.combinations(range(m), size)]
    return [min(1.0, max(len(s) * min(p_values[j] for j in s) for s in sets if i in s)) for i in range(m)]


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.9, 0.8]) == pytest.approx([1.0, 1.0])
    assert holm([]).shape == (0,)


@pytest.mark.parametrize("seed", range(5))
def test_holm_against_closed_testing(seed):
    p_values = np.random.default_rng(seed).random(5) ** 3
    assert holm(p_values) == pytest.approx(by_closed_testing(p_values))


def test_the_sign_decides_and_more_contrasts_ask_for_more():
    assert verdicts([estimate(5), estimate(-5), estimate(1)]) == ["better", "worse", "not shown"]
    assert verdicts([estimate(2.3)]) == ["better"]
    assert verdicts([estimate(2.3), *[estimate(0)] * 5])[0] == "not shown"
    assert judged([], ["f"], 0.1, 1) == []


def test_contrasts_that_could_not_be_read_count_as_well():
    (one,) = judged([line(estimate(2.3))], ["f", "g"], 0.1, 1)
    (of_six,) = judged([line(estimate(2.3))], ["f", "g"], 0.1, 6)
    assert (one.verdict, of_six.verdict) == ("better", "not shown")
    assert of_six.adjusted_p == pytest.approx(6 * one.adjusted_p)


def test_equivalent_is_what_two_one_sided_tests_reject():
    """Of one contrast: within delta by 1.645 standard errors, Student's quantile at 95 %."""
    edge = 0.1 - t.ppf(0.95, 8) * 0.03
    near, far = (estimate(value, 0.03, freedom=8) for value in (edge - 1e-4, edge + 1e-4))
    assert verdicts([near]) == ["equivalent"]
    assert verdicts([far]) == ["not shown"]
    assert verdicts([near] * 6) == ["not shown"] * 6
    assert verdicts([estimate(0.0, 0.5)]) == ["not shown"]


@pytest.mark.parametrize("outermost", [None, "item"])
def test_item_noise_ranks_nothing(outermost):
    assert verdicts([estimate(9, outermost=outermost), estimate(0, 1e-9, outermost=outermost)]) == ["not shown"] * 2


def test_only_the_area_over_all_families_has_a_verdict():
    lines = [line(estimate(9)), line(estimate(9), family="f"), line(estimate(9), measure="reward_at_tax")]
    assert [one.verdict for one in judged(lines, ["f", "g"], 0.1, 1)] == ["better", None, None]
    assert [one.verdict for one in judged(lines, ["f"], 0.1, 1)] == [None, "better", None]


def test_shares_have_the_ratio_of_means_and_the_scatter_of_its_delta_method():
    """Against 20,000 bootstrap draws of the blocks: the standard error of (first - second) / baseline within 5 %."""
    rng = np.random.default_rng(0)
    baseline = 2 + 0.3 * rng.normal(size=40)
    first, second = 1.3 * baseline + 0.2 * rng.normal(size=40), baseline + 0.2 * rng.normal(size=40)
    weights = np.full(40, 1 / 40)
    values = shares(first[:, None], second[:, None], baseline[:, None], weights)[:, 0]
    assert values.mean() == pytest.approx((first - second).mean() / baseline.mean())
    drawn = rng.integers(40, size=(20_000, 40))
    ratios = (first - second)[drawn].mean(axis=1) / baseline[drawn].mean(axis=1)
    assert values.std(ddof=1) / np.sqrt(40) == pytest.approx(ratios.std(), rel=0.05)
    with pytest.raises(ValueError, match="the baseline gains no reward"):
        shares(first[:, None], second[:, None], -baseline[:, None], weights)


def test_false_verdicts_stay_within_alpha():
    """6 correlated contrasts over 4 SFT seeds, three without a difference and three of delta: 1000 reports."""
    rng, false = np.random.default_rng(0), 0
    truth = np.array([0, 0, 0, 0.1, 0.1, 0.1])
    for _ in range(1000):
        values = 0.02 * (rng.normal(size=(6, 4)) + rng.normal(size=4)) + truth[:, None]
        found = verdicts([clustered_mean(v, {"sft_seed": range(4)}) for v in values])
        false += any(v in ("better", "worse") for v in found[:3]) or any(
            v in ("worse", "equivalent") for v in found[3:]
        )
    assert false <= 64


def test_lines_that_are_not_judged_stay_as_they_are():
    plain = line(estimate(9), family="f")
    assert judged([plain, line(estimate(1))], ["f", "g"], 0.1, 1)[0] == replace(plain, verdict=None)
