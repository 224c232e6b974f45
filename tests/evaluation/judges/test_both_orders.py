import numpy as np
import pytest

from omsweep.evaluation.judges.both_orders import compared, graded, place_liking


def test_a_judge_without_a_liking_for_a_place():
    found = compared([[1.0], [0.0], [0.5]], [[1.0], [0.0], [0.5]])
    assert found.score.tolist() == [100.0, 0.0, 50.0]
    assert place_liking(found.first) == 0.0
    assert np.isnan(found.noise).all()


def test_a_planted_liking_of_20_points_is_found_and_cancelled():
    """Every fifth verdict goes to what is shown first, whatever it is; the others to the better answer."""
    rng = np.random.default_rng(0)
    n = 4000
    better = rng.random(n) < 0.6  # whether ours is
    captured = rng.random(n) < 0.2
    first = np.where(captured, 1.0, better)
    second = np.where(captured, 0.0, better)
    found = compared(first[:, None], second[:, None])
    assert place_liking(found.first) == pytest.approx(20.0, abs=2.0)
    # 0.8 x 0.6 + 0.2 x 0.5: the captured ones are ties, and the one-order numbers are off by 10 points each way
    assert found.score.mean() == pytest.approx(58.0, abs=1.5)
    assert 100 * first.mean() == pytest.approx(68.0, abs=1.5)


def test_noise_is_that_of_the_mean_of_repeats():
    rng = np.random.default_rng(1)
    n, repeats = 3000, 4
    draws = [(rng.random((n, repeats)) < 0.7).astype(float) for _ in range(2)]
    found = compared(*draws)
    expected = 1e4 * 0.7 * 0.3 / repeats / 2
    assert found.noise.mean() == pytest.approx(expected, rel=0.05)
    assert found.score.var() == pytest.approx(expected, rel=0.1)


def test_a_pair_without_a_verdict_in_one_order_has_no_score():
    found = compared([[1.0], [None], [None]], [[None], [1.0], [None]])
    assert np.isnan(found.score).all()
    assert np.isnan(found.noise).all()
    partly = compared([[1.0, None]], [[0.0, 1.0]])
    assert partly.score.tolist() == [75.0]


def test_grades_are_averaged():
    found = graded([[4.0, 6.0], [7.0, None], [None, None]])
    assert found.score[:2].tolist() == [5.0, 7.0]
    assert np.isnan(found.score[2])
    assert found.noise[0] == pytest.approx(1.0)  # variance of a mean of two, 2 / 2
    assert np.isnan(found.noise[1:]).all()


def test_nothing_judged_is_nothing():
    assert len(compared([], []).score) == 0
    assert len(graded([]).score) == 0
    assert np.isnan(place_liking(np.array([])))
