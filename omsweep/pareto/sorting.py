"""Which front a point is on once the fronts before it are taken away, and what it adds to its own."""

from bisect import bisect_right

import numpy as np
from numpy.typing import ArrayLike, NDArray

from omsweep.pareto.dominance import as_losses
from omsweep.pareto.volume import as_reference


def front_numbers(losses: ArrayLike) -> NDArray[np.int64]:
    """Non-dominated sorting (Deb et al., 2002): the number of each point's front.

    0 is the front of all points, 1 the front of what is left without it, and so on: the number is the length of the
    longest chain of points of which each dominates the next, down to this one. Equal points share a front. In the order
    of both losses a point lies behind the last front whose least second loss is no greater than its own. O(N log N).

    Args:
        losses: [N, 2], minimised, finite.

    Returns:
        Numbers [N], 0 the best.

    Raises:
        ValueError: another shape, or a loss that is not finite.
    """
    array = as_losses(losses)
    if not np.isfinite(array).all():
        raise ValueError("losses must be finite")
    order = np.lexsort((array[:, 1], array[:, 0]))
    first_of_equals = np.ones(len(order), dtype=bool)
    first_of_equals[1:] = (np.diff(array[order], axis=0) != 0).any(axis=1)
    numbers: list[int] = []
    least: list[float] = []  # second loss of each front's newest member: rises from front to front
    for second in array[order, 1][first_of_equals].tolist():
        front = bisect_right(least, second)
        if front == len(least):
            least.append(second)
        least[front] = second
        numbers.append(front)
    found = np.empty(len(array), dtype=np.int64)
    found[order] = np.asarray(numbers, dtype=np.int64)[np.cumsum(first_of_equals) - 1]
    return found


def contributions(losses: ArrayLike, fronts: ArrayLike, reference_point: ArrayLike) -> NDArray[np.float64]:
    """The area that each point alone adds to the hypervolume of its front.

    Args:
        losses: [N, 2], minimised, finite.
        fronts: [N], the front of each point, see `front_numbers`.
        reference_point: [2], as for `hypervolume`.

    Returns:
        Areas [N]; 0 beyond the reference point, and of points that are there twice.

    Raises:
        ValueError: another shape, or a reference that is not finite.
    """
    reference, array = as_reference(reference_point), as_losses(losses)
    clipped, numbers = np.minimum(array, reference), np.asarray(fronts)
    order = np.lexsort((array[:, 1], array[:, 0], numbers))
    (first, second), front = clipped[order].T, numbers[order]
    together = front[1:] == front[:-1]
    until = np.append(np.where(together, first[1:], reference[0]), reference[0])[: len(order)]
    below = np.append(reference[1], np.where(together, second[:-1], reference[1]))[: len(order)]
    areas = np.empty(len(array))
    areas[order] = (until - first) * (below - second)
    return areas
