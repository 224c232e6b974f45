"""The smallest effect a design can be expected to show, known before anything is trained."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import ndtr, stdtrit

from omsweep.results.comparison.components import VarianceComponents
from omsweep.results.comparison.contrasts import ALPHA

Floats = NDArray[np.float64]

POWER = 0.8
_DRAWS = 20_000


@dataclass(frozen=True, kw_only=True)
class Design:
    """How often a comparison is repeated, numbers of at least 1.

    Args:
        sft_seeds: per family.
        runs: training runs per SFT seed and arm (blocks x training seeds).
        items: prompts behind each run's number.
        families: averaged over.
        comparisons: verdicts in the report, over which the family-wise error holds.
    """

    sft_seeds: int
    runs: int
    items: int = 1
    families: int = 1
    comparisons: int = 1

    @property
    def outermost(self) -> int:
        """Units of the outermost seed factor in a family: SFT seeds, or the runs of a single one."""
        return self.sft_seeds if self.sft_seeds > 1 else self.runs


def smallest_detectable_effect(design: Design, components: VarianceComponents) -> float:
    """True difference that is found `better` with probability `POWER`, in the unit of the components.

        variance = A/(F S) + B/(F S R) + C/n + e/(F S R n), over F families that meet the same items
        POWER    = E[Phi((effect - threshold) / sqrt(variance))], threshold^2 = sum over factors of V x t quantile^2

    at the two-sided level `ALPHA` / comparisons: Holm's first step, at which the most certain of all comparisons is
    tested. The expectation is over the variances that the analysis will estimate, scaled chi-squares, tested as
    `Estimate.p_value` does. With one SFT seed A is left out, and the result holds for that SFT model only.

    Args:
        design: the numbers.
        components: assumed, or from an earlier sweep; a NaN counts as 0.

    Returns:
        The effect, to about 1 %; infinite where nothing is repeated.
    """
    if design.outermost < 2:
        return math.inf
    threshold, spread = _thresholds(design, components)
    if spread == 0:
        return 0.0
    top = float(threshold.max()) + 10 * spread
    return float(brentq(lambda effect: _power(effect, threshold, spread) - POWER, 0.0, top))


def power(design: Design, components: VarianceComponents, effect: float) -> float:
    """Probability that a true difference `effect` above 0 is found `better`; 0 where nothing is repeated."""
    if design.outermost < 2:
        return 0.0
    threshold, spread = _thresholds(design, components)
    return _power(effect, threshold, spread) if spread else 1.0


def _power(effect: float, threshold: Floats, spread: float) -> float:
    return float(ndtr((effect - threshold) / spread).mean())


def _thresholds(design: Design, components: VarianceComponents) -> tuple[Floats, float]:
    """Draws of how large a mean difference must be for its verdict, and the standard deviation of that mean."""
    family, item = _variances(design, components)
    spread = math.sqrt(design.families * family + item)
    if spread == 0:
        return np.zeros(1), 0.0
    rng, level = np.random.default_rng(0), 1 - ALPHA / design.comparisons / 2
    seeds = _estimated(family, design.outermost - 1, design.families, rng)
    freedom = (design.outermost - 1) * seeds.sum(axis=1) ** 2 / (seeds**2).sum(axis=1)  # Satterthwaite's
    square = seeds.sum(axis=1) * stdtrit(freedom, level) ** 2
    if item > 0:
        square += _estimated(item, design.items - 1, 1, rng)[:, 0] * stdtrit(design.items - 1, level) ** 2
    return np.sqrt(square), spread


def _variances(design: Design, components: VarianceComponents) -> tuple[float, float]:
    """Variance of the mean that each family's seeds contribute, and that items contribute to all."""
    sft_seed, training_seed, item, residual = (0.0 if math.isnan(v) else v for v in vars(components).values())
    family = (training_seed + residual / design.items) / (design.sft_seeds * design.runs)
    if design.sft_seeds > 1:
        family += sft_seed / design.sft_seeds
    return family / design.families**2, item / design.items if design.items > 1 else 0.0


def _estimated(variance: float, freedom: int, count: int, rng: np.random.Generator) -> Floats:
    """Draws of `count` estimates of a variance, [draws, count]."""
    return variance * rng.chisquare(freedom, (_DRAWS, count)) / freedom
