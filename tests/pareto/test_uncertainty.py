"""Front probabilities where the answer is known."""

import numpy as np
import pytest

from omsweep.pareto import front, front_probability, paired_front_probability


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


def test_what_two_policies_err_in_together_does_not_change_who_is_better():
    losses, together = [[0.0, 0.0], [0.1, 0.1]], np.full((2, 2, 4), 3.0)
    assert paired_front_probability(losses, together).tolist() == [1.0, 0.0]
    assert front_probability(losses, np.full((2, 2), 6.0))[1] > 0.5  # of the same size, were it not shared


def test_noise_that_is_not_shared_is_independent():
    apart = np.zeros((2, 2, 4))
    apart[0, :, 0] = apart[1, :, 1] = 1.0
    probability = paired_front_probability([[0, 0], [0, 0]], apart, draws=4000)
    assert probability == pytest.approx(0.75, abs=4 * np.sqrt(0.75 * 0.25 / 4000))


def test_noise_of_another_shape_is_refused():
    with pytest.raises(ValueError, match=r"noise must have shape \[2, 2, 'G'\], got \[2, 4\]"):
        paired_front_probability([[0, 0], [0, 0]], np.zeros((2, 4)))
