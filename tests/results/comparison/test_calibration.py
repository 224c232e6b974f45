"""Sweeps with known truth: intervals cover as they say, false verdicts are rare (benchmarks/calibration.py)."""

import numpy as np
import pytest

from tests.benchmark_scripts import benchmark_script


@pytest.fixture(scope="module")
def calibration():
    return benchmark_script("calibration")


@pytest.mark.slow
def test_reports_without_an_effect(calibration):
    truth = calibration.true_differences(calibration.NULL, sweeps=8)
    found = calibration.calibrate(calibration.NULL, repeats=100, truth=truth)
    areas = [c for key, c in found.covered.items() if key[:2] == ("area", "all families")]
    assert 0.85 <= np.mean(areas) <= 0.97
    assert np.mean(list(found.covered.values())) >= 0.83
    assert found.false <= 10  # the 97.5 % point of 100 reports at 5 %


@pytest.mark.slow
def test_a_gain_is_found(calibration):
    scenario = next(s for s in calibration.SCENARIOS if s.name == "ondare 10 % better")
    found = calibration.calibrate(scenario, repeats=20, truth=calibration.true_differences(scenario, sweeps=8))
    assert found.verdicts["ondare - adamw"]["better"] >= 0.6
    assert found.false <= 4


def test_arms_on_one_curve_differ_by_nothing(calibration):
    """Over many seeds and endless items, however far they move at a dose: what straight lines miss is below 2 %."""
    points = calibration.synthetic_points(calibration.NULL, np.random.default_rng(0), sft_seeds=60, exact=True)
    for line in calibration.judged_of(calibration.report_of(points)):
        assert abs(line.estimate.value) < 0.02 + 3 * line.estimate.standard_error
        assert line.verdict in ("equivalent", "not shown")
