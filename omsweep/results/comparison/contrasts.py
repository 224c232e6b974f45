"""Contrasts of arms: differences of their curves, with intervals over seeds, and verdicts over those named."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from omsweep.results.comparison.clusters import block_mean
from omsweep.results.comparison.curves import Curve, Curves, block_weights
from omsweep.results.comparison.estimate import Estimate
from omsweep.results.comparison.points import KL, REWARD, TAX, Arm, Block, Floats, Pair, Points

ALL_FAMILIES = "all families"
ALPHA = 0.05
"""Family-wise error of a report: the chance that any of its verdicts is false."""
PRIMARY = "area"
UNITS = {
    PRIMARY: "share of the baseline's area",
    "reward_at_tax": "scorer units",
    "tax_at_reward": "points",
    "reward_at_kl": "scorer units",
}
"""What is read of a contrast; all but the first are descriptive, without a verdict."""


@dataclass(frozen=True, kw_only=True)
class Line:
    """One line of the report: how much more `arm` has than `against`.

    Args:
        measure: a key of `UNITS`, which has the estimate's unit.
        family: a family, or `ALL_FAMILIES`, the mean over them.
        arm, against: names of both arms.
        estimate: mean paired difference over blocks.
        blocks: number of them.
        verdict: `better`, `worse`, `equivalent` or `not shown`, of a primary line; None of one that has none.
        adjusted_p: Holm's p-value of no difference over the primary lines.
        equivalence_p: of a difference of at least delta (two one-sided tests), times the number of primary lines.
    """

    measure: str
    family: str
    arm: str
    against: str
    estimate: Estimate
    blocks: int
    verdict: str | None = None
    adjusted_p: float = 1.0
    equivalence_p: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Support:
    """Where two arms are compared in a family: up to `tax`, points; at `reward`; at `kl`, None where not known."""

    tax: float
    reward: float
    kl: float | None


def support_of(curves: Sequence[Curve], baseline: Curve, limit: float) -> Support:
    """What all of the curves reach: at most the limit, and the baseline's reward and KL there, on the search split.

    Raises:
        ValueError: a curve without policies, or that reaches no tax above 0.
    """
    each = [*curves, baseline]
    if not all(curve.paths for curve in each):
        raise ValueError("an arm left no policy at the lowest dose")
    tax = min(limit, *(curve.reach(TAX) for curve in each))
    if tax <= 0:
        raise ValueError("an arm costs no tax at any dose, so that there is no common range of tax")
    reward, kl = (float(v) for v in baseline.searched(baseline.at([tax], TAX))[0, [REWARD, KL]])
    known = all(np.isfinite(curve.search[:, KL]).all() and np.isfinite(curve.report[..., KL]).all() for curve in each)
    return Support(
        tax=tax,
        reward=min(reward, *(curve.reach(REWARD) for curve in curves)),
        kl=min(kl, *(curve.reach(KL) for curve in curves)) if known else None,
    )


def shares(first: Floats, second: Floats, baseline: Floats, weights: Floats) -> Floats:
    """Values [B, 1 + G] whose weighted mean is (mean area of first - of second) / mean area of the baseline.

    A ratio of means r is linear in its blocks to first order: r + (first - second - r x baseline) / mean baseline.

    Raises:
        ValueError: the baseline's mean area is not above 0.
    """
    unit = float(weights @ baseline[:, 0])
    if unit <= 0:
        raise ValueError("the baseline gains no reward within the limit, so that its area is no unit")
    ratio = float(weights @ (first - second)[:, 0]) / unit
    return ratio + (first - second - ratio * baseline) / unit


def lines_of(
    points: Points, pair: Pair, baseline: Arm, curves: Curves, supports: Mapping[str, Support]
) -> tuple[list[Line], Floats]:
    """Every measure of a pair in every family it has support in and, with several, over all of them.

    Returns:
        The lines, and the values [B, 1 + G] behind the area's, of the blocks of these families in order.
    """
    values: dict[str, list[Floats]] = {}
    for family, support in supports.items():
        first, second, unit = (curves[family, arm] for arm in (*pair, baseline))
        own, other, whole = (curve.area(support.tax) for curve in (first, second, unit))
        values.setdefault(PRIMARY, []).append(shares(own, other, whole, block_weights(points, family)))
        places = {"reward_at_tax": (support.tax, TAX, REWARD), "tax_at_reward": (support.reward, REWARD, TAX)}
        places |= {"reward_at_kl": (support.kl, KL, REWARD)} if support.kl is not None else {}
        for measure, place in places.items():
            if place[0] > 0:
                values.setdefault(measure, []).append(first.read_at(*place) - second.read_at(*place))
    blocks = [points.blocks_of(family) for family in supports]
    lines = []
    for measure, of_families in values.items():
        if len(of_families) < len(supports):
            continue  # what is not known in some families, or the baseline gained nothing there
        rows = list(zip(supports, of_families, blocks, strict=True))
        lines += [_line(measure, family, pair, [one], inside) for family, one, inside in rows]
        if len(rows) > 1:
            lines.append(_line(measure, ALL_FAMILIES, pair, of_families, [b for inside in blocks for b in inside]))
    return lines, np.concatenate(values[PRIMARY])


def _line(measure: str, family: str, pair: Pair, values: Sequence[Floats], blocks: Sequence[Block]) -> Line:
    return Line(
        measure=measure,
        family=family,
        arm=pair[0].name,
        against=pair[1].name,
        estimate=block_mean(np.concatenate(values), blocks),
        blocks=len(blocks),
    )


def judged(lines: Sequence[Line], families: Sequence[str], delta: float, contrasts: int) -> list[Line]:
    """The lines, those of the area over all families (over the family, where there is one) with verdicts.

    `better` or `worse` where Holm's procedure over all `contrasts` that were named rejects no difference at level
    `ALPHA`, those that could not be read counting as p = 1; `equivalent` where two one-sided tests at `ALPHA` over
    their number reject a difference of `delta` or more; else `not shown`. An estimate without repeated seeds is
    `not shown`: item noise is not seed noise.
    """
    pooled = ALL_FAMILIES if len(families) > 1 else families[0]
    places = [i for i, line in enumerate(lines) if (line.measure, line.family) == (PRIMARY, pooled)]
    estimates = [lines[i].estimate for i in places]
    repeated = [estimate.outermost not in (None, "item") for estimate in estimates]
    p_values = [e.p_value if known else 1.0 for e, known in zip(estimates, repeated, strict=True)]
    differs = holm([*p_values, *[1.0] * (contrasts - len(places))])[: len(places)]
    same = [
        min(1.0, contrasts * _equivalence_p(e, delta)) if known else 1.0
        for e, known in zip(estimates, repeated, strict=True)
    ]
    found = list(lines)
    for place, estimate, apart, alike in zip(places, estimates, differs, same, strict=True):
        if apart <= ALPHA:
            verdict = "better" if estimate.value > 0 else "worse"
        else:
            verdict = "equivalent" if alike <= ALPHA else "not shown"
        found[place] = replace(found[place], verdict=verdict, adjusted_p=float(apart), equivalence_p=alike)
    return found


def _equivalence_p(estimate: Estimate, delta: float) -> float:
    """The larger of the one-sided p-values of `value <= -delta` and `value >= delta` (Schuirmann 1987)."""
    inside = delta - abs(estimate.value)
    return replace(estimate, value=inside).p_value / 2 if inside > 0 else 1.0


def holm(p_values: ArrayLike) -> NDArray[np.float64]:
    """Adjusted p-values [m] of Holm's step-down procedure (1979) for p-values [m] in [0, 1].

    In rising order the i-th is the largest so far of (m - i + 1) p, at most 1. Rejecting those up to alpha keeps the
    family-wise error at alpha whatever the comparisons' dependence.
    """
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)))
    return adjusted
