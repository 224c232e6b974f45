"""Which of a set of points no other point beats, both coordinates minimised."""

import numpy as np
from numpy.typing import ArrayLike, NDArray


def as_losses(losses: ArrayLike) -> NDArray[np.float64]:
    """`losses` as a float64 array of shape [N, 2]; None becomes NaN; ValueError for another shape."""
    array = np.asarray(losses, dtype=np.float64)
    if array.size == 0 and array.ndim < 3:
        return array.reshape(0, 2)
    if array.ndim != 2 or array.shape[1] != 2:
        raise ValueError(f"losses must have shape [N, 2], got {list(array.shape)}")
    return array


def front(losses: ArrayLike) -> NDArray[np.bool_]:
    """Mark the points that no other dominates.

    A point dominates another when it is no greater in both coordinates and smaller in at least one. Points
    equal to a member are members too; a row with NaN never is, and dominates nothing. O(N log N).

    Args:
        losses: [N, 2], minimised; infinities are ordinary values.

    Returns:
        Boolean mask [N].

    Raises:
        ValueError: another shape.
    """
    array = as_losses(losses)
    mask: NDArray[np.bool_] = np.logical_not(np.isnan(array).any(axis=1))
    if not mask.any():
        return mask
    first, second = array[mask].T
    values, group = np.unique(first, return_inverse=True)
    least = np.full(len(values), np.inf)  # smallest second loss at each distinct first loss
    np.minimum.at(least, group, second)
    least_before = np.minimum.accumulate(least)
    beaten_before = np.zeros(len(second), dtype=bool)
    later = group > 0
    beaten_before[later] = least_before[group[later] - 1] <= second[later]
    mask[mask] = (second == least[group]) & ~beaten_before
    return mask
