"""Attainment: by hand, surface against function, area against integral, and what must not change it."""

import numpy as np
import pytest

from omsweep.pareto import attainment, attainment_surface, front, hypervolume

NAN = float("nan")
RUNS = [[[1, 3], [3, 1]], [[2, 2]], [[4, 0]]]


def integer_runs(seed, *, runs=5):
    rng = np.random.default_rng(seed)
    return [rng.integers(0, 9, size=(rng.integers(1, 5), 2)).astype(float) for _ in range(runs)]


def grid(size):
    return np.stack(np.meshgrid(np.arange(size), np.arange(size), indexing="ij"), axis=-1).reshape(-1, 2)


def test_shares_by_hand():
    asked = [[0, 9], [1, 3], [2, 2], [2, 3], [3, 2], [4, 1], [9, 9]]
    assert attainment(RUNS, asked) * 3 == pytest.approx([0, 1, 1, 2, 2, 2, 3])


@pytest.mark.parametrize(
    ("share", "corners"),
    [
        (1 / 3, [[1, 3], [2, 2], [3, 1], [4, 0]]),
        (2 / 3, [[2, 3], [3, 2], [4, 1]]),
        (1.0, [[4, 2]]),
        (0.5, [[2, 3], [3, 2], [4, 1]]),
    ],
)
def test_surfaces_by_hand(share, corners):
    assert attainment_surface(RUNS, share).tolist() == corners


def test_the_surface_of_one_run_is_its_front():
    losses = np.random.default_rng(0).random((30, 2))
    members = losses[front(losses)]
    assert attainment_surface([losses], 1.0).tolist() == members[np.argsort(members[:, 0])].tolist()


def test_a_run_without_points_attains_nothing():
    runs = [[[1, 1]], [], [[NAN, 0]]]
    assert attainment(runs, [[2, 2]]).tolist() == [pytest.approx(1 / 3)]
    assert attainment_surface(runs, 0.3).tolist() == [[1, 1]]
    assert attainment_surface(runs, 0.5).shape == (0, 2)


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("share", [0.2, 0.5, 0.6, 1.0])
def test_the_surface_bounds_where_the_function_reaches_the_share(seed, share):
    runs, asked = integer_runs(seed), grid(10)
    surface = attainment_surface(runs, share)
    inside = (surface[:, None, :] <= asked[None]).all(axis=2).any(axis=0)
    assert inside.tolist() == (attainment(runs, asked) >= share - 1e-12).tolist()
    assert front(surface).all()


@pytest.mark.parametrize("seed", range(10))
def test_the_mean_hypervolume_is_the_integral_of_the_function(seed):
    runs = integer_runs(seed)  # of integers: constant on unit cells
    assert np.mean([hypervolume(run, (10, 10)) for run in runs]) == pytest.approx(attainment(runs, grid(10)).sum())


@pytest.mark.parametrize("seed", range(5))
def test_order_and_duplicates_of_runs_and_points_do_not_matter(seed):
    runs = integer_runs(seed)
    other = [np.concatenate([run[::-1], run]) for run in [*runs[::-1], *runs]]
    assert attainment_surface(other, 0.5).tolist() == attainment_surface(runs, 0.5).tolist()
    assert attainment(other, grid(9)).tolist() == pytest.approx(attainment(runs, grid(9)).tolist())


def test_what_is_no_set_of_runs_is_refused():
    with pytest.raises(ValueError, match="runs must hold at least one"):
        attainment([], [[0, 0]])
    with pytest.raises(ValueError, match=r"share must be in \(0, 1\], got 0"):
        attainment_surface(RUNS, 0)
    with pytest.raises(ValueError, match=r"losses must have shape \[N, 2\]"):
        attainment([np.zeros((2, 3))], [[1, 1]])
