"""Settings to losses: signs, the reference point, what is missing."""

import numpy as np
import pytest

from omsweep.pareto import front, hypervolume
from omsweep.results.objectives import METRICS, REWARDS, TAXES, Objectives
from omsweep.store.records import TrialRecord


def trial(**numbers):
    return TrialRecord(trial_id="t", family="f", state="completed", **numbers)


def test_defaults_are_the_contracts():
    chosen = Objectives.from_settings({})
    assert (chosen.reward.name, chosen.tax.name) == ("reward", "tax")
    assert chosen.reference_losses.tolist() == [20.0, 0.0]
    assert chosen == Objectives()


def test_more_reward_and_less_tax_dominate():
    trials = [trial(reward=1.0, tax=2.0), trial(reward=0.5, tax=3.0), trial(reward=1.5, tax=4.0)]
    chosen = Objectives()
    losses = chosen.losses(trials)
    assert losses.tolist() == [[2.0, -1.0], [3.0, -0.5], [4.0, -1.5]]
    assert front(losses).tolist() == [True, False, True]
    assert hypervolume(losses, chosen.reference_losses) == 18 * 1.0 + 16 * 0.5


def test_a_policy_worse_than_the_sft_model_adds_nothing():
    chosen = Objectives()
    losses = chosen.losses([trial(reward=-0.1, tax=-5.0), trial(reward=0.0, tax=0.0), trial(reward=1, tax=20)])
    assert hypervolume(losses, chosen.reference_losses) == 0.0


@pytest.mark.parametrize("tax", TAXES)
def test_every_tax_is_minimised_and_read_from_its_own_field(tax):
    chosen = Objectives.from_settings({"tax": tax, "reference_point": {"reward": 0.1, "tax": 0.5}})
    scored = trial(**(dict.fromkeys(TAXES, 100.0) | {"reward": 1.0, tax: 0.25}))
    assert chosen.losses([scored]).tolist() == [[0.25, -1.0]]
    assert chosen.reference_losses.tolist() == [0.5, -0.1]


def test_missing_numbers_are_nan():
    losses = Objectives().losses([trial(reward=None, tax=1.0), trial(tax=1.0)])
    assert np.isnan(losses[:, 1]).all()
    assert Objectives().losses([]).shape == (0, 2)


def test_standard_errors_follow_the_order_of_the_losses():
    scored = trial(reward_se_items=0.02, tax_se_items=0.8, tax_worst_se_items=1.5)
    assert Objectives().standard_errors([scored]).tolist() == [[0.8, 0.02]]
    worst = Objectives.from_settings({"tax": "tax_worst"}).standard_errors([scored])
    assert worst.tolist() == [[1.5, 0.02]]
    assert np.isnan(Objectives().standard_errors([trial()])).all()


def test_every_objective_has_an_error_bar():
    assert all(metric.standard_error in TrialRecord.model_fields for metric in METRICS.values())


def test_directions_are_declared_once():
    assert set(REWARDS) | set(TAXES) == set(METRICS)
    assert REWARDS == ("reward",)


@pytest.mark.parametrize(
    ("role", "value"), [("reward", "tax"), ("tax", "reward"), ("tax", "loss"), ("tax", "flip_rate")]
)
def test_a_metric_of_the_wrong_kind_is_named(role, value):
    with pytest.raises(ValueError, match=rf"objectives.{role} must be one of .*, got '{value}'"):
        Objectives.from_settings({role: value})
