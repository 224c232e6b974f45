"""The area a set of points dominates, both coordinates minimised."""

import numpy as np
from numpy.typing import ArrayLike

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
    reference = np.asarray(reference_point, dtype=np.float64)
    if reference.shape != (2,) or not np.isfinite(reference).all():
        raise ValueError(f"reference_point must be two finite numbers, got {reference_point!r}")
    array = as_losses(losses)
    inside = array[(array < reference).all(axis=1)]
    if len(inside) == 0:
        return 0.0
    first, second = inside[np.lexsort((inside[:, 1], inside[:, 0]))].T
    widths = np.diff(np.append(first, reference[0]))
    heights = reference[1] - np.minimum.accumulate(second)
    return float(np.sum(widths * heights))
