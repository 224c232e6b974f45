"""Sweeps with known truth: intervals cover as they say, false verdicts are rare (benchmarks/calibration.py)."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

from omsweep.results.comparison.headline import compare
from omsweep.results.comparison.points import headline_pairs

PATH = Path(__file__).parents[3] / "benchmarks" / "calibration.py"


@pytest.fixture(scope="module")
def calibration():
    spec = importlib.util.spec_from_file_location("calibration", PATH)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


@pytest.mark.slow
def test_200_reports_without_an_effect(calibration):
    scenario = calibration.SCENARIOS[0]
    found = calibration.calibrate(scenario, repeats=200, truth=calibration.true_differences(scenario, sweeps=20))
    assert 0.85 <= found.covered.mean() <= 0.95
    assert found.covered.mean(axis=0).min() > 0.90 - 5 * np.sqrt(0.9 * 0.1 / 200)
    assert found.false_better(200) <= 16
    assert found.false_worse(200) <= 16


@pytest.mark.slow
def test_a_gain_is_found(calibration):
    scenario = calibration.SCENARIOS[-1]
    found = calibration.calibrate(scenario, repeats=60, truth=calibration.true_differences(scenario, sweeps=20))
    shown = {
        (line.family, line.arm, line.against): share
        for line, share in zip(found.lines, found.better.mean(0), strict=True)
        if line.measure == "reward_at_tax"
    }
    assert shown["all families", "online + offline", "adamw + offline"] > 0.1  # twice the family-wise error
    assert 0.82 <= found.covered.mean() <= 0.97
    assert found.false_better(60) <= 8


def test_the_generator_draws_arms_that_are_alike(calibration):
    """Over many seeds and endless items, two arms on the same curve differ by nothing."""
    rng = np.random.default_rng(0)
    points = calibration.synthetic_points(calibration.SCENARIOS[0], rng, sft_seeds=60, runs=2, exact_report=True)
    lines = compare(points, headline_pairs("online")[::2], calibration.LIMITS)
    assert all(abs(line.estimate.value) < 4 * line.estimate.standard_error for line in lines)


def test_moving_less_gains_nothing_at_equal_tax(calibration):
    """With the whole grid at hand an arm that moves less is not above one that moves further along the curve."""
    rng, scenario = np.random.default_rng(1), calibration.SCENARIOS[4]
    points = calibration.synthetic_points(scenario, rng, sft_seeds=60, runs=2, exact_report=True)
    for line in compare(points, headline_pairs("online")[2:], calibration.LIMITS):
        assert line.estimate.value < 2 * line.estimate.standard_error
