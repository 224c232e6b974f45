"""How sure a front is, given the noise of the items it was measured on.

Standard errors come from the items (prompts, questions) one policy met; two runs of a recipe differ more.
"""

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
    hits = np.zeros(len(points))
    for draw in noise:
        hits += front(points + errors * draw)
    return hits / draws
