"""The front: by hand, against the definition, and what must not change it."""

import numpy as np
import pytest

from omsweep.pareto import front

NAN, INF = float("nan"), float("inf")


def front_by_definition(losses):
    """Every pair compared, as the definition says."""
    array = np.asarray(losses, dtype=float)

    def dominates(a, b):
        return bool((a <= b).all() and (a < b).any())

    return np.array(
        [not np.isnan(p).any() and not any(dominates(q, p) for q in array if not np.isnan(q).any()) for p in array],
        dtype=bool,
    )


CASES = {
    "staircase": ([[1, 3], [2, 2], [3, 1], [3, 3], [2, 2.5]], [1, 1, 1, 0, 0]),
    "one point": ([[5, 5]], [1]),
    "duplicates of a member stay": ([[1, 1], [1, 1], [2, 2], [2, 2]], [1, 1, 0, 0]),
    "equal in one coordinate": ([[1, 1], [1, 2], [2, 1]], [1, 0, 0]),
    "NaN never, and it dominates nothing": ([[NAN, 0], [0, NAN], [5, 5], [NAN, NAN]], [0, 0, 1, 0]),
    "all NaN": ([[NAN, 1]], [0]),
    "infinities are values": ([[INF, 0], [0, INF], [1, 1], [INF, INF], [1, INF]], [1, 1, 1, 0, 0]),
    "minus infinity beats all": ([[-INF, -INF], [0, 0]], [1, 0]),
    "only infinities": ([[INF, INF], [INF, INF]], [1, 1]),
    "negative losses": ([[-2, 0], [-1, -1], [0, 0]], [1, 1, 0]),
    "signed zero": ([[0.0, 1], [-0.0, 1]], [1, 1]),
}


@pytest.mark.parametrize("case", CASES)
def test_by_hand(case):
    losses, expected = CASES[case]
    mask = front(losses)
    assert mask.dtype == bool
    assert mask.tolist() == [bool(flag) for flag in expected]


def test_nothing_in_nothing_out():
    assert front(np.empty((0, 2))).shape == (0,)
    assert front([]).shape == (0,)


def test_none_is_a_missing_number():
    assert front([[None, 1], [2, 2]]).tolist() == [False, True]


@pytest.mark.parametrize("shape", [(3,), (3, 3), (2, 2, 2)])
def test_another_shape_is_refused(shape):
    with pytest.raises(ValueError, match=r"losses must have shape \[N, 2\], got"):
        front(np.zeros(shape))


def random_losses(seed, *, n=60):
    """Coarse values, so that ties and duplicates are common, with some NaN and infinities."""
    rng = np.random.default_rng(seed)
    losses = rng.integers(0, 12, size=(n, 2)).astype(float)
    losses[rng.random((n, 2)) < 0.05] = NAN
    losses[rng.random((n, 2)) < 0.05] = INF
    return losses


@pytest.mark.parametrize("seed", range(40))
def test_against_the_definition(seed):
    losses = random_losses(seed, n=seed)
    assert front(losses).tolist() == front_by_definition(losses).tolist()


@pytest.mark.parametrize("seed", range(5))
def test_order_does_not_matter(seed):
    losses = random_losses(seed)
    order = np.random.default_rng(seed + 100).permutation(len(losses))
    assert front(losses[order]).tolist() == front(losses)[order].tolist()


@pytest.mark.parametrize("seed", range(5))
def test_doubling_every_point_doubles_the_mask(seed):
    losses = random_losses(seed)
    mask = front(losses)
    assert front(np.concatenate([losses, losses])).tolist() == [*mask, *mask]


@pytest.mark.parametrize("seed", range(5))
def test_shifting_scaling_and_swapping_coordinates_keep_the_mask(seed):
    losses = random_losses(seed)
    mask = front(losses).tolist()
    assert front(losses + np.array([128.0, -64.0])).tolist() == mask
    assert front(losses * [4.0, 0.25]).tolist() == mask
    assert front(losses[:, ::-1]).tolist() == mask


def test_the_front_of_the_front_is_all_of_it():
    losses = np.random.default_rng(0).random((200, 2))
    assert front(losses[front(losses)]).all()


def test_the_input_is_left_alone():
    losses = random_losses(1)
    before = losses.copy()
    front(losses)
    np.testing.assert_array_equal(losses, before)
