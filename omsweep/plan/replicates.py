"""Which recipe is worth another seed: the one whose next result is expected to change the front most. Torch-free.

A recipe with k seeds counts with the mean of its losses. One more seed moves that mean by about sqrt(v / (k (k + 1))),
where v is the variance of a single result: what seeds of the family's recipes differed by so far, together with the
item noise of this recipe, which counts as one observation and stands in while no recipe has two seeds. The expectation
of |change of the hypervolume| is over that move, in each loss by Gauss and Hermite's rule with seven points.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from omsweep.pareto.dominance import front
from omsweep.pareto.volume import hypervolume, hypervolumes
from omsweep.plan.parameters import Params
from omsweep.store.state import SFT_MODEL

NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(7)
"""Of a standard normal; the weights have the sum sqrt(2 pi)."""


class Result(NamedTuple):
    """One seed's (tax, -reward), and the squared standard errors over items of both; 0 where there is none."""

    losses: tuple[float, float]
    item_variances: tuple[float, float]


@dataclass
class Recipe:
    """What a family's trials of one recipe have in common, and what became of them.

    Attributes:
        params: study parameters.
        seeds: training seeds it was started with.
        results: of the trials that completed.
        running: how many have not ended.
        violates: whether one of them was outside of the constraints.
    """

    params: Params
    seeds: set[int] = field(default_factory=set)
    results: list[Result] = field(default_factory=list)
    running: int = 0
    violates: bool = False


def most_telling(recipes: Sequence[Recipe], reference_point: Sequence[float]) -> Recipe | None:
    """The recipe whose next seed is expected to change the front most; then one on it, then with the fewest seeds.

    Args:
        recipes: of one family, in the order they were proposed.
        reference_point: (tax, -reward), the worst losses that count.

    Returns:
        None where no recipe has a result within the constraints.
    """
    known = [one for one in recipes if one.results and not one.violates]
    if not known:
        return None
    means = np.array([np.mean([result.losses for result in one.results], axis=0) for one in known])
    moves = _moves(known, means)
    changes, on_front = expected_changes(means, moves, reference_point), _on_front(means)
    ranked = [(changes[i], on_front[i], -len(one.results) - one.running, -i) for i, one in enumerate(known)]
    return known[ranked.index(max(ranked))]


def expected_changes(
    means: NDArray[np.float64], moves: NDArray[np.float64], reference_point: Sequence[float]
) -> NDArray[np.float64]:
    """Of each recipe, the expected |change of the hypervolume| when its mean moves.

    Args:
        means: [N, 2], minimised.
        moves: [N, 2], standard deviations of the moves.
        reference_point: [2].

    Returns:
        [N]; the SFT model, at (0, 0), counts as a point of the front. The time is linear in N, and quadratic in how
        many are on the front or just behind it.
    """
    shifts = np.array(list(itertools.product(NODES, NODES)))
    weights = np.outer(WEIGHTS, WEIGHTS).ravel() / (2 * math.pi)
    points = np.vstack([means, SFT_MODEL[:2]])
    now = hypervolume(points, reference_point)
    near = front(points)
    near[~near] = front(points[~near])  # what one member less leaves on the front was beaten by that member alone
    found = np.zeros(len(means))
    for i in np.flatnonzero(_on_front(means) | _on_front_at_best(means, moves)):
        others = points[near & (np.arange(len(points)) != i)]
        sets = np.repeat(np.vstack([others, points[i]])[None], len(shifts), axis=0)
        sets[:, -1] += shifts * moves[i]
        found[i] = weights @ np.abs(hypervolumes(sets, reference_point) - now)
    return found


def _moves(known: Sequence[Recipe], means: NDArray[np.float64]) -> NDArray[np.float64]:
    squares = sum(
        np.sum((np.array([result.losses for result in one.results]) - mean) ** 2, axis=0)
        for one, mean in zip(known, means, strict=True)
    )
    freedom = sum(len(one.results) - 1 for one in known)
    items = np.array([np.mean([result.item_variances for result in one.results], axis=0) for one in known])
    seeds = np.array([len(one.results) + one.running for one in known])[:, None]
    moves: NDArray[np.float64] = np.sqrt((items + squares) / (1 + freedom) / (seeds * (seeds + 1)))
    return moves


def _on_front(means: NDArray[np.float64]) -> NDArray[np.bool_]:
    return front(np.vstack([means, SFT_MODEL[:2]]))[:-1]


def _on_front_at_best(means: NDArray[np.float64], moves: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether a recipe would be on the front as it is with its own mean moved as far to the better as the rule goes."""
    best = means - NODES[-1] * moves
    others = np.vstack([means[_on_front(means)], SFT_MODEL[:2]])
    beaten = (others[None] <= best[:, None]).all(axis=2) & (others[None] < best[:, None]).any(axis=2)
    return ~beaten.any(axis=1)
