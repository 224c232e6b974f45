"""What repeated runs attain: the empirical attainment function and its surfaces.

The integral of the function up to a reference point is the mean of the runs' hypervolumes.

A run is a set of points; it attains z when one of its points is no greater than z in both losses (Grunert da Fonseca,
Fonseca and Hall, "Inferential performance assessment of stochastic optimisers and the attainment function", 2001).
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from omsweep.pareto.dominance import as_losses


def attainment(runs: Sequence[ArrayLike], at: ArrayLike) -> NDArray[np.float64]:
    """Share of runs that attain each point: the empirical attainment function.

    Args:
        runs: one array [N_r, 2] per run, minimised; rows with NaN attain nothing.
        at: [M, 2], the points asked about.

    Returns:
        [M], in [0, 1].

    Raises:
        ValueError: no run, or another shape.
    """
    points, asked = _runs(runs), as_losses(at)
    reached = [(run[:, None, :] <= asked[None]).all(axis=2).any(axis=0) for run in points]
    return np.mean(reached, axis=0)


def attainment_surface(runs: Sequence[ArrayLike], share: float) -> NDArray[np.float64]:
    """Corners of the region that at least `share` of the runs attain, by first loss.

    Args:
        runs: as in `attainment`.
        share: in (0, 1]; 0.5 is the median surface, 1 what every run attains.

    Returns:
        [K, 2], the region's front; empty where too few runs have a point.

    Raises:
        ValueError: no run, another shape, or a share out of range.
    """
    if not 0 < share <= 1:
        raise ValueError(f"share must be in (0, 1], got {share}")
    points = [run[~np.isnan(run).any(axis=1)] for run in _runs(runs)]
    needed = int(np.ceil(round(share * len(points), 9)))
    first = np.unique(np.concatenate([run[:, 0] for run in points]))
    least = [_least_second(run, first) for run in points]  # per run: smallest second loss up to each first loss
    level = np.sort(least, axis=0)[needed - 1]
    corner = (level < np.append(np.inf, level[:-1])) & np.isfinite(level)
    return np.stack([first[corner], level[corner]], axis=1)


def _runs(runs: Sequence[ArrayLike]) -> list[NDArray[np.float64]]:
    if len(runs) == 0:
        raise ValueError("runs must hold at least one set of points, got none")
    return [as_losses(run) for run in runs]


def _least_second(run: NDArray[np.float64], first: NDArray[np.float64]) -> NDArray[np.float64]:
    order = np.argsort(run[:, 0], kind="stable")
    least = np.append(np.inf, np.minimum.accumulate(run[order, 1]))
    return least[np.searchsorted(run[order, 0], first, side="right")]
