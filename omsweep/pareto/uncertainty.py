"""How sure a front is, given the noise of the items it was measured on, or the scatter of repeated units.

Standard errors come from the items (prompts, questions) one policy met; two runs of a recipe differ more, which
`front_probability_over_units` takes into account and `front_probability` does not.
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


def front_probability_over_units(values: ArrayLike, *, draws: int = 1000, seed: int = 0) -> NDArray[np.float64]:
    """Share of plausible means, given how the units scatter, in which each recipe lies on the front.

    Each draw is taken from the multivariate t distribution with U - 1 degrees of freedom around the recipes' means,
    scaled by the covariance of these means over units: recipes of one unit err together, as in a blocked design.

        draw = mean + sum over u of g_u (x_u - mean) / sqrt(U (U - 1)) / sqrt(chi2_{U-1} / (U - 1)),  g_u ~ N(0, 1)

    Args:
        values: [U, N, 2], minimised losses of N recipes in each of U units (SFT seeds, or training seeds of one); a
            recipe with NaN in any unit gets 0.
        draws: at least 1.
        seed: of the simulation.

    Returns:
        [N], in [0, 1].

    Raises:
        ValueError: another shape, fewer than two units, or no draw.
    """
    units = np.asarray(values, dtype=np.float64)
    if units.ndim != 3 or units.shape[2] != 2 or len(units) < 2:
        raise ValueError(f"values must have shape [U, N, 2] with U at least 2, got {list(units.shape)}")
    if draws < 1:
        raise ValueError(f"draws must be at least 1, got {draws}")
    freedom, rng = len(units) - 1, np.random.default_rng(seed)
    mean = units.mean(axis=0)
    scale = np.sqrt(freedom / rng.chisquare(freedom, draws)) / np.sqrt(len(units) * freedom)
    noise = np.einsum("du,unk->dnk", rng.standard_normal((draws, len(units))), units - mean)
    hits = sum(front(mean + moved).astype(float) for moved in scale[:, None, None] * noise)
    return np.asarray(hits / draws)
