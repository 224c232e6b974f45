"""The area a set of points dominates, both coordinates minimised."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from omsweep.pareto.dominance import as_losses


def hypervolume(losses: ArrayLike, reference_point: ArrayLike) -> float:
    """Area of the union of the rectangles between each point and the reference point.

        HV = |union over i of [x_i, r_x] x [y_i, r_y]|,  points with x_i >= r_x or y_i >= r_y or NaN add 0

    In two dimensions the hypervolume indicator (Zitzler and Thiele, 1998). O(N log N).

    Args:
        losses: [N, 2], minimised.
        reference_point: [2], finite: the worst losses that still count.

    Returns:
        The area in the product of the two units; 0.0 for no points.

    Raises:
        ValueError: another shape, or a reference that is not finite.
    """
    reference, array = as_reference(reference_point), as_losses(losses)
    inside = array[(array < reference).all(axis=1)]
    if len(inside) == 0:
        return 0.0
    first, second = inside[np.lexsort((inside[:, 1], inside[:, 0]))].T
    widths = np.diff(np.append(first, reference[0]))
    heights = reference[1] - np.minimum.accumulate(second)
    return float(np.sum(widths * heights))


def hypervolumes(losses: ArrayLike, reference_point: ArrayLike) -> NDArray[np.float64]:
    """`hypervolume` of many sets of equally many points at once.

    Args:
        losses: [..., N, 2], minimised, N at least 1.
        reference_point: [2], finite.

    Returns:
        [...], the areas.

    Raises:
        ValueError: another shape, or a reference that is not finite.
    """
    reference, sets = as_reference(reference_point), np.asarray(losses, dtype=np.float64)
    if sets.ndim < 2 or sets.shape[-1] != 2 or sets.shape[-2] < 1:
        raise ValueError(f"losses must have shape [..., N, 2], got {list(sets.shape)}")
    counts = (sets < reference).all(axis=-1, keepdims=True)  # false for NaN
    inside = np.where(counts, sets, reference)  # a point on the reference adds nothing
    order = np.argsort(inside[..., 0], axis=-1, kind="stable")[..., None]
    first, second = np.moveaxis(np.take_along_axis(inside, order, axis=-2), -1, 0)
    widths = np.diff(first, axis=-1, append=reference[0])
    area: NDArray[np.float64] = (widths * (reference[1] - np.minimum.accumulate(second, axis=-1))).sum(axis=-1)
    return area


def as_reference(reference_point: ArrayLike) -> NDArray[np.float64]:
    """`reference_point` as two finite float64 numbers; ValueError for anything else."""
    reference = np.asarray(reference_point, dtype=np.float64)
    if reference.shape != (2,) or not np.isfinite(reference).all():
        raise ValueError(f"reference_point must be two finite numbers, got {reference_point!r}")
    return reference
