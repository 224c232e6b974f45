"""Hypervolume: closed forms, two other ways of computing it, and what must not change it."""

import itertools

import numpy as np
import pytest

from omsweep.pareto import front, hypervolume, hypervolumes

NAN, INF = float("nan"), float("inf")


def by_inclusion_and_exclusion(losses, reference):
    """Areas of all intersections of the rectangles with alternating signs; exponential in N."""
    inside = [p for p in np.asarray(losses, dtype=float).reshape(-1, 2) if (p < reference).all()]
    total = 0.0
    for size in range(1, len(inside) + 1):
        for chosen in itertools.combinations(inside, size):
            total -= (-1) ** size * np.prod(np.asarray(reference) - np.max(chosen, axis=0))
    return total


def by_cells(losses, reference):
    """Count unit cells of an integer grid that some point dominates."""
    corners = np.stack(np.meshgrid(np.arange(reference[0]), np.arange(reference[1]), indexing="ij"), axis=-1)
    covered = np.zeros(corners.shape[:2], dtype=bool)
    for point in np.asarray(losses, dtype=float).reshape(-1, 2):
        covered |= (corners >= point).all(axis=-1)
    return float(covered.sum())


CASES = {
    "nothing": ([], (1, 1), 0.0),
    "a rectangle": ([[1, 2]], (4, 4), 6.0),
    "two that overlap": ([[1, 2], [2, 1]], (3, 3), 3.0),
    "a dominated point adds nothing": ([[1, 1], [2, 2]], (3, 3), 4.0),
    "a duplicate adds nothing": ([[1, 1], [1, 1]], (3, 3), 4.0),
    "on the reference": ([[1, 3], [3, 1]], (3, 3), 0.0),
    "beyond the reference in one": ([[-5, 4], [1, 1]], (3, 3), 4.0),
    "NaN and infinity": ([[NAN, 0], [0, INF], [2, 2]], (3, 3), 1.0),
    "negative losses": ([[-1.5, -0.5]], (20, 0), 10.75),
    "the same first loss": ([[1, 1], [1, 2]], (3, 3), 4.0),
    "the same second loss": ([[1, 1], [2, 1]], (3, 3), 4.0),
}


@pytest.mark.parametrize("case", CASES)
def test_by_hand(case):
    losses, reference, expected = CASES[case]
    assert hypervolume(losses, reference) == expected


def test_an_even_staircase():
    n = 50
    losses = [[i, n - 1 - i] for i in range(n)]
    assert hypervolume(losses, (n, n)) == n * (n + 1) / 2


def test_a_quarter_disc():
    angle = np.linspace(0, np.pi / 2, 20_001)
    area = hypervolume(1 - np.stack([np.cos(angle), np.sin(angle)], axis=1), (1, 1))
    assert area == pytest.approx(np.pi / 4, abs=1e-4)


@pytest.mark.parametrize("seed", range(20))
def test_against_inclusion_and_exclusion(seed):
    losses = np.random.default_rng(seed).random((8, 2)) * 1.2
    assert hypervolume(losses, (1, 1)) == pytest.approx(by_inclusion_and_exclusion(losses, (1, 1)), abs=1e-12)


@pytest.mark.parametrize("seed", range(20))
def test_against_counting_cells(seed):
    losses = np.random.default_rng(seed).integers(0, 22, size=(30, 2))
    assert hypervolume(losses, (20, 15)) == by_cells(losses, (20, 15))


@pytest.mark.parametrize("seed", range(10))
def test_the_front_alone_has_the_same_volume(seed):
    losses = np.random.default_rng(seed).integers(0, 30, size=(60, 2)).astype(float)
    assert hypervolume(losses[front(losses)], (25, 25)) == hypervolume(losses, (25, 25))


@pytest.mark.parametrize("seed", range(10))
def test_order_duplicates_shift_scale_and_swap(seed):
    rng = np.random.default_rng(seed)
    losses = rng.integers(0, 30, size=(40, 2)).astype(float)
    reference, shift = np.array([25.0, 20.0]), np.array([128.0, -64.0])
    volume = hypervolume(losses, reference)
    assert hypervolume(rng.permutation(losses), reference) == volume
    assert hypervolume(np.concatenate([losses, losses]), reference) == volume
    assert hypervolume(losses + shift, reference + shift) == volume
    assert hypervolume(losses * [4, 0.5], reference * [4, 0.5]) == 2 * volume
    assert hypervolume(losses[:, ::-1], reference[::-1]) == volume


@pytest.mark.parametrize("seed", range(10))
def test_another_point_never_takes_volume_away(seed):
    rng = np.random.default_rng(seed)
    losses = rng.random((20, 2))
    volumes = [hypervolume(losses[:n], (0.9, 0.9)) for n in range(21)]
    assert (np.diff(volumes) >= -1e-15).all()


@pytest.mark.parametrize("reference", [(1,), (1, 2, 3), (1, NAN), (INF, 1), 3])
def test_a_reference_that_is_no_point_is_refused(reference):
    with pytest.raises(ValueError, match="reference_point must be two finite numbers"):
        hypervolume([[0, 0]], reference)


def test_another_shape_is_refused():
    with pytest.raises(ValueError, match=r"losses must have shape \[N, 2\]"):
        hypervolume(np.zeros((2, 3)), (1, 1))


@pytest.mark.parametrize("seed", range(5))
def test_many_sets_at_once_equal_one_by_one(seed):
    rng = np.random.default_rng(seed)
    sets = rng.integers(0, 25, size=(3, 7, 12, 2)).astype(float)
    sets[rng.random(sets.shape) < 0.05] = NAN
    one_by_one = [[hypervolume(points, (20, 15)) for points in row] for row in sets]
    assert hypervolumes(sets, (20, 15)).tolist() == one_by_one


def test_many_sets_of_another_shape_are_refused():
    for shape in ((2,), (3, 0, 2), (3, 4, 3)):
        with pytest.raises(ValueError, match=r"losses must have shape \[\.\.\., N, 2\]"):
            hypervolumes(np.zeros(shape), (1, 1))
