"""How sure a front is, given the noise of the items it was measured on.

Standard errors come from the items (prompts, questions) one policy met; two runs of a recipe differ more.
"""

from collections.abc import Iterable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from omsweep.pareto.dominance import as_losses, front


def front_probability(
    losses: ArrayLike, standard_errors: ArrayLike, *, draws: int = 1000, seed: int = 0
) -> NDArray[np.float64]:
    """Share of simulated measurements in which each point lies on the front.

    Each draw adds independent normal noise with the given standard errors. Policies scored on the same items
    err together, so that the truth is somewhat surer than this.

    Args:
        losses: [N, 2], minimised; rows with NaN get 0.
        standard_errors: [N, 2], in the losses' units; NaN counts as 0 (nothing known to be noisy).
        draws: number of simulated measurements, at least 1.
        seed: of the simulation.

    Returns:
        [N], in [0, 1].
    """
    points, errors = as_losses(losses), np.nan_to_num(as_losses(standard_errors), nan=0.0)
    if points.shape != errors.shape:
        raise ValueError(f"standard_errors must have shape {list(points.shape)}, got {list(errors.shape)}")
    if (errors < 0).any():
        raise ValueError(f"standard_errors must be >= 0, got {errors.min()}")
    if draws < 1:
        raise ValueError(f"draws must be at least 1, got {draws}")
    noise = np.random.default_rng(seed).standard_normal((draws, *points.shape))
    return _share_on_front(points, (errors * draw for draw in noise), draws)


def paired_front_probability(
    losses: ArrayLike, noise: NDArray[np.float64], *, draws: int = 1000, seed: int = 0
) -> NDArray[np.float64]:
    """`front_probability` of policies that met the same items and err together where these do.

    Args:
        losses: [N, 2], minimised; rows with NaN get 0.
        noise: [N, 2, G], what each of G groups of items adds to the standard error of each loss: its squares add up to
            the variance, and the products of two rows to their covariance. The groups of one loss are independent of
            those of the other.
        draws: number of simulated measurements, at least 1.
        seed: of the simulation.

    Returns:
        [N], in [0, 1].
    """
    points = as_losses(losses)
    if noise.ndim != 3 or noise.shape[:2] != points.shape:
        raise ValueError(f"noise must have shape {[*points.shape, 'G']}, got {list(noise.shape)}")
    if draws < 1:
        raise ValueError(f"draws must be at least 1, got {draws}")
    shared = np.random.default_rng(seed).standard_normal((draws, *noise.shape[1:]))
    return _share_on_front(points, (np.einsum("nlg,lg->nl", noise, draw) for draw in shared), draws)


def _share_on_front(
    points: NDArray[np.float64], errors: Iterable[NDArray[np.float64]], draws: int
) -> NDArray[np.float64]:
    hits = np.zeros(len(points))
    for error in errors:
        hits += front(points + error)
    return hits / draws
