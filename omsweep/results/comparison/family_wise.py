"""`better`, `worse` or `not shown`, wrong about a direction in at most a share `alpha` of reports."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from omsweep.results.comparison.estimate import Estimate

ALPHA = 0.05
"""Family-wise error of a report: the chance that any of its verdicts is false."""


def holm(p_values: ArrayLike, weights: ArrayLike | None = None) -> NDArray[np.float64]:
    """Adjusted p-values of Holm's step-down procedure, weighted (Holm 1979, section 5).

    In the order of p / w, the i-th adjusted value is the largest so far of p / w x (sum of the weights from i on), at
    most 1. Rejecting those up to alpha keeps the family-wise error at alpha whatever the comparisons' dependence.

    Args:
        p_values: [m] in [0, 1].
        weights: [m] > 0, by default equal; fixed before the data are seen.

    Returns:
        [m].
    """
    p = np.asarray(p_values, dtype=np.float64)
    w = np.ones_like(p) if weights is None else np.asarray(weights, dtype=np.float64)
    order = np.argsort(p / w, kind="stable")
    left = np.cumsum(w[order][::-1])[::-1]  # sum of the weights not yet rejected
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(p[order] / w[order] * left))
    return adjusted


def verdicts(estimates: Sequence[Estimate], weights: ArrayLike | None = None) -> list[tuple[str, float]]:
    """Verdict and Holm's adjusted p-value of each estimate of a difference where more is better.

    `better` or `worse` where Holm's procedure rejects a difference of zero at level `ALPHA`, by the estimate's sign. An
    estimate without repeated seeds (`outermost` None or `item`) is `not shown`, with p-value 1: item noise is not seed
    noise.

    Args:
        estimates: everything the report prints a verdict for.
        weights: as in `holm`.
    """
    adjusted = holm([1.0 if e.outermost in (None, "item") else e.p_value for e in estimates], weights)
    return [
        (("better" if e.value > 0 else "worse") if p <= ALPHA else "not shown", float(p))
        for e, p in zip(estimates, adjusted, strict=True)
    ]
