"""The headline: does merging do it, and is online better than offline? Paired differences between arms."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
from numpy.typing import NDArray

from omsweep.results.comparison.arms import block_values, candidate_count
from omsweep.results.comparison.clusters import block_mean
from omsweep.results.comparison.estimate import Estimate
from omsweep.results.comparison.family_wise import verdicts
from omsweep.results.comparison.measures import KL, MEASURES, RUN_MEASURES, Limits, Measure
from omsweep.results.comparison.points import Arm, Pair, Points

ALL_FAMILIES = "all families"
PRIMARY = "reward_at_tax"
"""The measure whose comparisons over all families share half of the family-wise error among them."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One line of the report: how much more `arm` has of a measure than `against`.

    Args:
        measure: a name in `MEASURES`; its unit is the estimate's.
        family: a family, or `ALL_FAMILIES`, the mean over them.
        arm, against: names of both arms.
        estimate: mean paired difference over blocks.
        blocks: number of them.
        both_sft: blocks in which both arms read as the SFT model does, 0 whatever items are left out, so that nothing
            was compared; where it is all of them, the estimate has no parts.
        candidates: mean number per block of either arm, the SFT model not counted.
        verdict: `better`, `worse` or `not shown`; given by `judged`.
        adjusted_p: Holm's p-value over the report; given by `judged`.
    """

    measure: str
    family: str
    arm: str
    against: str
    estimate: Estimate
    blocks: int
    both_sft: int
    candidates: tuple[float, float]
    verdict: str = "not shown"
    adjusted_p: float = 1.0


def compare(
    points: Points,
    pairs: Iterable[Pair],
    limits: Limits | Mapping[str, Limits],
    *,
    measures: Collection[str] = tuple(MEASURES),
) -> list[Comparison]:
    """Every measure of every pair in every family and, with more than one, over all of them.

    Args:
        points: the policies.
        pairs: (arm, against), such as `headline_pairs("ondare")`.
        limits: of all families, or by family.
        measures: names in `MEASURES`.

    Raises:
        ValueError: a label that has no policy, or policies for which a number is missing.
    """
    by_family = {f: limits if isinstance(limits, Limits) else limits[f] for f in points.families}
    return [
        line
        for name, pair in product(measures, list(pairs))
        for line in _lines(points, pair, MEASURES[name], by_family)
    ]


def run_differences(points: Points, pairs: Iterable[Pair], limits: Mapping[str, Limits]) -> list[Comparison]:
    """`RUN_MEASURES` of every two labels that are paired, of their runs alone, in every family and over all.

    They are not to be judged. KL is among them where every policy's is known.
    """
    labels = dict.fromkeys((first.label, second.label) for first, second in pairs)
    known = all(np.isfinite(array[..., KL]).all() for array in (points.search, points.report, points.report_without))
    return [
        line
        for (first, second), measure in product(labels, RUN_MEASURES)
        if known or KL not in measure.reads
        for line in _lines(points, (Arm(first), Arm(second)), measure, limits)
    ]


def primary_lines(comparisons: Sequence[Comparison]) -> NDArray[np.bool_]:
    """Which of a report's comparisons are of `PRIMARY` over all families (over the family, where there is one), [m]."""
    several = any(c.family == ALL_FAMILIES for c in comparisons)
    return np.array([c.measure == PRIMARY and (c.family == ALL_FAMILIES or not several) for c in comparisons], bool)


def judged(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """The comparisons with verdicts, false in at most a share `ALPHA` of reports; give all that a report prints.

    Of `ALPHA`, half goes to the `primary_lines` in equal parts, and half to the others; what is not needed is passed
    on by Holm's procedure.
    """
    primary = primary_lines(comparisons)
    share = primary.mean() if len(comparisons) else 0.0
    weights = np.where(primary, 1 - share, share) if 0 < share < 1 else np.ones(len(comparisons))
    found = verdicts([c.estimate for c in comparisons], weights)
    return [replace(c, verdict=verdict, adjusted_p=p) for c, (verdict, p) in zip(comparisons, found, strict=True)]


def _lines(points: Points, pair: Pair, measure: Measure, limits: Mapping[str, Limits]) -> list[Comparison]:
    """One measure of one pair, by family."""
    first, second = (block_values(points, arm, measure, limits) for arm in pair)
    lines = []
    for family in (*points.families, *([ALL_FAMILIES] if len(points.families) > 1 else [])):
        inside = np.array([family in (block[0], ALL_FAMILIES) for block in points.blocks])
        blocks = [block for block, kept in zip(points.blocks, inside, strict=True) if kept]
        upper, lower = (candidate_count(points, arm, inside) for arm in pair)
        both_sft = int(((first == 0) & (second == 0)).all(axis=1)[inside].sum())
        estimate = block_mean((first - second)[inside], blocks)
        lines.append(
            Comparison(
                measure=measure.name,
                family=family,
                arm=pair[0].name,
                against=pair[1].name,
                estimate=estimate if both_sft < len(blocks) else replace(estimate, parts=(), outermost=None, units=0),
                blocks=len(blocks),
                both_sft=both_sft,
                candidates=(upper, lower),
            )
        )
    return lines
