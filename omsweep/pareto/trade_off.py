"""The knee of a front: where a little less of one loss begins to cost much of the other."""

import numpy as np
from numpy.typing import ArrayLike

from omsweep.pareto.dominance import as_losses
from omsweep.pareto.volume import as_reference


def knee(members: ArrayLike, reference_point: ArrayLike) -> int | None:
    """The point furthest below the straight line through a front's two ends (Das, "On characterizing the knee of the
    Pareto curve based on normal-boundary intersection", Structural Optimization 18, 1999, in two dimensions).

    Both losses are divided by their distance from the ideal point (least of each) to the reference point, beyond which
    nothing counts. Which point is furthest does not depend on that, only on who counts. Of equal ones the first.

    Args:
        members: [N, 2], minimised; points that no other dominates.
        reference_point: [2], finite: the worst losses that still count.

    Returns:
        Its row; None for fewer than three points within the reference, or where none lies below the line.

    Raises:
        ValueError: another shape, or a reference that is not finite.
    """
    array, reference = as_losses(members), as_reference(reference_point)
    within = np.flatnonzero((array < reference).all(axis=1))
    if len(within) < 3:
        return None
    ideal = array[within].min(axis=0)
    first, second = ((array[within] - ideal) / (reference - ideal)).T
    start, end = int(first.argmin()), int(second.argmin())
    run, fall = first[end] - first[start], second[start] - second[end]
    if run <= 0 or fall <= 0:
        return None
    below = (fall * (first[end] - first) - run * (second - second[end])) / np.hypot(run, fall)
    best = int(below.argmax())
    return int(within[best]) if below[best] > 1e-12 else None
