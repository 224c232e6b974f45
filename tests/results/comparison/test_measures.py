"""Choosing on one split and reading on the other: by hand, against the hypervolume, and what must not change it."""

import numpy as np
import pytest

from omsweep.pareto import hypervolume
from omsweep.results.comparison.measures import (
    KL,
    MEASURES,
    TAX,
    Limits,
    attainment_area,
    reward_at_kl,
    reward_at_tax,
    selected,
)

LIMITS = Limits(tax=2.0, kl=5.0, reference_tax=10.0)
SFT = [0.0, 0.0, 0.0]
SEARCH = np.array([[0.5, 1.0, 9.0], [0.9, 2.0, 4.0], [1.5, 2.1, 3.0], SFT])  # reward, tax, KL
REPORT = np.array([[[0.4, 1.2, 8.0], [0.7, 3.0, 4.0], [1.4, 2.0, 3.0], SFT]])


def test_the_most_reward_within_the_budget_is_read_on_the_other_split():
    assert selected(SEARCH, TAX, 2.0) == 1
    assert selected(SEARCH, KL, 3.5) == 2
    assert reward_at_tax(SEARCH, REPORT, LIMITS).tolist() == [0.7]
    assert reward_at_kl(SEARCH, REPORT, LIMITS).tolist() == [1.4]


def test_nothing_within_the_budget_is_the_sft_model():
    assert selected(SEARCH, TAX, 0.5) == 3
    assert reward_at_tax(SEARCH, REPORT, Limits(tax=0.0, reference_tax=10.0)).tolist() == [0.0]


def test_a_policy_below_the_sft_model_is_not_chosen():
    assert selected(np.array([[-0.1, 0.0, 0.0], SFT]), TAX, 2.0) == 1


def test_of_equal_rewards_the_cheapest():
    assert selected(np.array([[1.0, 2.0, 0.0], [1.0, 1.0, 0.0], SFT]), TAX, 2.0) == 1


def test_without_the_sft_model_nothing_may_be_left():
    with pytest.raises(ValueError, match="no candidate has tax <= 0.5: is the SFT model among them"):
        selected(SEARCH[:3], TAX, 0.5)


def test_the_area_of_the_front_by_hand():
    """All three lie on the front of the search split; on the report split the second is dominated."""
    assert attainment_area(SEARCH, REPORT, LIMITS) == pytest.approx([(2.0 - 1.2) * 0.4 + (10 - 2.0) * 1.4])


def test_what_is_dominated_on_the_search_split_has_no_area():
    search = np.array([[1.0, 1.0, 0.0], [0.9, 1.1, 0.0], SFT])
    report = np.array([[[0.5, 1.0, 0.0], [9.0, 1.0, 0.0], SFT]])
    assert attainment_area(search, report, LIMITS) == pytest.approx([9 * 0.5])


@pytest.mark.parametrize("seed", range(10))
def test_the_area_of_one_split_is_its_hypervolume(seed):
    numbers = np.random.default_rng(seed).normal(size=(8, 3)) * [1, 4, 1]
    expected = hypervolume(numbers[:, [1, 0]] * [1, -1], (10.0, 0.0))
    assert attainment_area(numbers, numbers[None], LIMITS) == pytest.approx([expected])


@pytest.mark.parametrize("name", MEASURES)
def test_every_reading_of_the_report_split_is_read_alike(name):
    rng, measure = np.random.default_rng(0), MEASURES[name]
    search, report = rng.random((6, 3)), rng.random((4, 6, 3))
    together = measure.read(search, report, LIMITS)
    assert together == pytest.approx([measure.read(search, one[None], LIMITS)[0] for one in report])
    order = rng.permutation(6)
    assert measure.read(search[order], report[:, order], LIMITS) == pytest.approx(together)


@pytest.mark.parametrize("name", MEASURES)
def test_the_report_split_chooses_nothing(name):
    """More reward on the report split for what was not chosen leaves the measure as it was."""
    search = np.array([[0.5, 1.0, 1.0], [0.4, 1.5, 1.5], SFT])
    report = np.array([[[0.5, 1.0, 1.0], [0.4, 1.5, 1.5], SFT]])
    luckier = report + np.array([[[0.0] * 3, [9.0, -1.0, -1.0], [0.0] * 3]])
    read = MEASURES[name].read
    assert read(search, luckier, LIMITS).tolist() == read(search, report, LIMITS).tolist()


@pytest.mark.parametrize(
    "wrong", [{"tax": -1.0}, {"kl": -1.0}, {"reference_tax": 0.0}, {"reference_reward": 0.5}, {"tax": float("nan")}]
)
def test_the_sft_model_must_lie_within_the_limits(wrong):
    with pytest.raises(ValueError, match=f"must lie within {next(iter(wrong))}"):
        Limits(**({"tax": 2.0, "reference_tax": 10.0} | wrong))
