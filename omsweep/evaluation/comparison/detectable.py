"""The smallest effect a design can be expected to show, known before anything is trained."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import ndtr, stdtrit

from omsweep.evaluation.comparison.components import VarianceComponents
from omsweep.evaluation.comparison.family_wise import ALPHA

_DRAWS = 20_000


@dataclass(frozen=True, kw_only=True)
class Design:
    """How often a comparison is repeated.

    Args:
        sft_seeds: per family.
        runs: training runs per SFT seed and arm (blocks x training seeds).
        items: prompts behind each run's number.
        families: averaged over.
        comparisons: verdicts in the report, over which the family-wise error holds.

    Raises:
        ValueError: a number below 1.
    """

    sft_seeds: int
    runs: int
    items: int = 1
    families: int = 1
    comparisons: int = 1

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")

    @property
    def outermost(self) -> int:
        """Units of the outermost seed factor in a family: SFT seeds, or the runs of a single one."""
        return self.sft_seeds if self.sft_seeds > 1 else self.runs


def smallest_detectable_effect(
    design: Design, components: VarianceComponents, *, alpha: float = ALPHA, power: float = 0.8, seed: int = 0
) -> float:
    """True difference that is found `better` with probability `power`, in the unit of the components.

        variance = A/(F S) + B/(F S R) + C/n + e/(F S R n), over F families that meet the same items
        power    = E[Phi((effect - t quantile x estimated standard error) / sqrt(variance))]

    at the two-sided level alpha / comparisons: Holm's first step, at which the most certain of all comparisons is
    tested when weights are equal. The expectation is over the variances that the analysis will estimate, scaled
    chi-squares whose degrees of freedom combine as in `clustered_mean`. With one SFT seed A is left out, and the result
    holds for that SFT model only.

    Args:
        design: the numbers.
        components: assumed, or from an earlier sweep; a NaN counts as 0.
        alpha: family-wise error, in (0, 1).
        power: in (alpha, 1).
        seed: of the expectation's draws.

    Returns:
        The effect, to about 1 %; infinite where nothing is repeated.

    Raises:
        ValueError: alpha or power out of range.
    """
    if not 0 < alpha < power < 1:
        raise ValueError(f"alpha and power must satisfy 0 < alpha < power < 1, got {alpha} and {power}")
    if design.outermost < 2:
        return math.inf
    variances, freedom = _variance_terms(design, components)
    spread = math.sqrt(variances.sum())
    if spread == 0:
        return 0.0
    estimated = variances * np.random.default_rng(seed).chisquare(freedom, (_DRAWS, len(freedom))) / freedom
    total = estimated.sum(axis=1)
    combined = total**2 / (estimated**2 / freedom).sum(axis=1)
    threshold = stdtrit(combined, 1 - alpha / design.comparisons / 2) * np.sqrt(total)

    def excess(effect: float) -> float:
        return float(ndtr((effect - threshold) / spread).mean()) - power

    return float(brentq(excess, 0.0, float(threshold.max()) + 10 * spread))


def _variance_terms(design: Design, components: VarianceComponents) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Parts of the mean's variance that are estimated separately, one per family and one for items, with their df."""
    sft_seed, training_seed, item, residual = (0.0 if math.isnan(v) else v for v in vars(components).values())
    family = (training_seed + residual / design.items) / (design.sft_seeds * design.runs)
    if design.sft_seeds > 1:
        family += sft_seed / design.sft_seeds
    variances = [family / design.families**2] * design.families
    freedom = [design.outermost - 1] * design.families
    if design.items > 1:
        variances.append(item / design.items)
        freedom.append(design.items - 1)
    return np.array(variances), np.array(freedom, dtype=np.float64)
