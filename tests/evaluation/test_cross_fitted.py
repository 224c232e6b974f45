"""Losses picked on one half of the items and read on the other: closed form against brute force, bias, error bars."""

import math

import numpy as np
import pytest

from omsweep.evaluation.cross_fitted import regressed, worst

LOSSES, ERRORS = np.array([2.0, 1.2, -0.5, 0.0]), np.array([1.0, 0.6, 0.9, 1.4])


def halves(losses, errors, count=200_000):
    """Both halves of `count` random halvings of normal items, [count, C] each."""
    noise = np.random.default_rng(0).normal(size=(count, len(losses))) * errors
    return losses + noise, losses - noise


def test_the_closed_forms_are_the_averages_over_halves():
    picked, read = halves(LOSSES, ERRORS)
    assert regressed(LOSSES, ERRORS)[0] == pytest.approx((read * (picked > 0)).mean(), abs=0.01)
    chosen = np.take_along_axis(read, picked.argmax(axis=1)[:, None], axis=1)
    assert worst(LOSSES, ERRORS)[0] == pytest.approx(chosen.mean(), abs=0.01)


@pytest.mark.parametrize(
    ("true", "bias_regressed", "bias_worst"),
    [
        ([0.0] * 7, 0.05, 0.1),
        ([5.0] * 7, 0.05, 0.1),
        ([10.0, 0.0, 0.0], 0.05, 0.1),
        ([8.0, 4.0, 2.0, 1.0, 0.0, 0.0, -3.0], 0.15, 0.35),
    ],
)
def test_bias_is_small_without_loss_and_with_and_error_bars_hold(true, bias_regressed, bias_worst):
    """Category standard errors of 1.26 points: 250 items, of which a policy redraws the answer of a tenth."""
    rng, error = np.random.default_rng(1), np.full(len(true), 1.26)
    draws = [np.array(true) + error * rng.normal(size=len(true)) for _ in range(250)]
    for measure, truth, bias in (
        (regressed, np.maximum(true, 0).mean(), bias_regressed),
        (worst, max(true), bias_worst),
    ):
        values, claimed = np.array([measure(losses, error) for losses in draws]).T
        assert abs(values.mean() - truth) < bias + 2 * values.std() / math.sqrt(len(draws))
        assert claimed.mean() == pytest.approx(values.std(), rel=0.15)


def test_losses_far_apart_are_read_as_they_are():
    assert regressed([30.0, 0.0], [1.0, 0.0]) == pytest.approx((15.0, 0.5), abs=1e-3)
    assert worst([30.0, 0.0, -5.0], [1.0, 0.5, 0.0]) == pytest.approx((30.0, 1.0), rel=0.05)


def test_scores_without_noise_are_read_as_they_are():
    assert regressed([3.0, -1.0], [0.0, 0.0]) == pytest.approx((1.5, 0.0), abs=1e-6)
    assert worst([3.0, -1.0], [0.0, 0.0]) == pytest.approx((3.0, 0.0), abs=1e-6)


def test_a_category_without_error_bar_leaves_neither():
    assert np.isnan([*regressed([1.0, 2.0], [0.5, math.nan]), *worst([1.0, 2.0], [0.5, math.nan])]).all()


def test_the_same_numbers_give_the_same_measures():
    assert worst(LOSSES, ERRORS) == worst(LOSSES, ERRORS)
