"""Front probabilities where the answer is known."""

import numpy as np
import pytest

from omsweep.pareto import front, front_probability, front_probability_over_units


def test_a_negative_standard_error_is_refused():
    with pytest.raises(ValueError, match="standard_errors must be >= 0, got -0.5"):
        front_probability([[0, 0]], [[-0.5, 0]])


def test_without_noise_it_is_the_front():
    losses = np.random.default_rng(2).random((30, 2))
    for errors in (np.zeros((30, 2)), np.full((30, 2), np.nan)):
        assert front_probability(losses, errors, draws=3).tolist() == front(losses).astype(float).tolist()


def test_two_equal_points_with_noise_in_one_coordinate_share_evenly():
    probability = front_probability([[0, 0], [0, 0]], [[1, 0], [1, 0]], draws=4000)
    assert probability.sum() == pytest.approx(1.0)
    assert probability == pytest.approx(0.5, abs=4 * 0.5 / np.sqrt(4000))


def test_two_equal_points_with_noise_in_both_are_beaten_a_quarter_of_the_time():
    probability = front_probability([[0, 0], [0, 0]], [[1, 2], [1, 2]], draws=4000)
    assert probability == pytest.approx(0.75, abs=4 * np.sqrt(0.75 * 0.25 / 4000))


def test_missing_points_have_no_chance():
    assert front_probability([[np.nan, 0], [5, 5]], [[1, 1], [1, 1]], draws=10).tolist() == [0.0, 1.0]


def test_the_same_seed_gives_the_same_answer():
    losses, errors = np.random.default_rng(3).random((2, 10, 2))
    first = front_probability(losses, errors, draws=50, seed=7)
    assert first.tolist() == front_probability(losses, errors, draws=50, seed=7).tolist()
    assert first.tolist() != front_probability(losses, errors, draws=50, seed=8).tolist()


def test_shapes_are_checked():
    with pytest.raises(ValueError, match=r"standard_errors must have shape \[2, 2\], got \[1, 2\]"):
        front_probability([[0, 0], [1, 1]], [[0, 0]])
    with pytest.raises(ValueError, match="draws must be at least 1"):
        front_probability([[0, 0]], [[0, 0]], draws=0)


def test_units_that_agree_leave_the_front_as_it_is():
    losses = np.random.default_rng(4).random((20, 2))
    probability = front_probability_over_units(np.stack([losses, losses, losses]), draws=5)
    assert probability.tolist() == front(losses).astype(float).tolist()


def test_two_recipes_that_differ_in_one_loss_follow_the_t_distribution():
    """With paired differences d over U units the chance of the first is P(T_{U-1} < -mean / se)."""
    first = np.array([0.0, 1.0, 5.0])
    values = np.zeros((3, 2, 2))
    values[:, 0, 0], values[:, 1, 0] = first, first + np.array([0.5, 1.0, -0.3])
    difference = values[:, 0, 0] - values[:, 1, 0]
    t = difference.mean() / (difference.std(ddof=1) / np.sqrt(3))
    expected = 0.5 - t / (2 * np.sqrt(2 + t**2))  # the t distribution with 2 degrees of freedom, in closed form
    probability = front_probability_over_units(values, draws=20_000)
    assert probability.sum() == pytest.approx(1.0)
    assert probability[0] == pytest.approx(expected, abs=4 * 0.5 / np.sqrt(20_000))


def test_what_units_share_does_not_make_them_less_sure():
    """Added to every recipe of a unit alike, it moves no recipe against another."""
    rng = np.random.default_rng(5)
    values, shared = rng.random((4, 6, 2)), rng.normal(size=(4, 1, 2))
    shared -= shared.mean(axis=0)
    same = front_probability_over_units(values, draws=200)
    assert front_probability_over_units(values + 100 * shared, draws=200) == pytest.approx(same)


def test_a_recipe_missing_in_a_unit_has_no_chance():
    values = np.zeros((2, 2, 2))
    values[1, 0, 0] = np.nan
    assert front_probability_over_units(values, draws=3).tolist() == [0.0, 1.0]


def test_units_are_checked():
    for shape in ((1, 3, 2), (3, 2), (2, 2, 3)):
        with pytest.raises(ValueError, match=r"values must have shape \[U, N, 2\] with U at least 2"):
            front_probability_over_units(np.zeros(shape))
    with pytest.raises(ValueError, match="draws must be at least 1"):
        front_probability_over_units(np.zeros((2, 2, 2)), draws=0)
