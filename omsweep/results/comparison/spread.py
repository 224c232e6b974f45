"""Where the scatter of a contrast comes from, and the smallest difference that it lets one see."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from omsweep.results.comparison.clusters import pseudo_values
from omsweep.results.comparison.components import VarianceComponents, variance_components
from omsweep.results.comparison.contrasts import ALL_FAMILIES
from omsweep.results.comparison.detectable import Design, smallest_detectable_effect
from omsweep.results.comparison.points import Floats, Pair, Points


@dataclass(frozen=True, kw_only=True)
class Spread:
    """Where the scatter of a difference in area comes from, in a family or as the mean of families.

    Args:
        family: a family or `ALL_FAMILIES`.
        arm, against: names of both arms.
        components: per SFT seed, training seed and group of items, squared shares of the baseline's area.
        groups: number of groups of items.
        detectable: smallest difference that this sweep would have called `better` with probability 0.8, share of the
            baseline's area; given where the contrast has a verdict, infinite where nothing is repeated.
    """

    family: str
    arm: str
    against: str
    components: VarianceComponents
    groups: int
    detectable: float | None


def spreads(points: Points, pair: Pair, values: Floats, contrasts: int) -> list[Spread]:
    """The scatter of a pair's difference by family and, with several, their mean.

    Args:
        points: the policies.
        pair: the arms.
        values: [B, 1 + G] by block, family after family, from `lines_of`.
        contrasts: number of those that the family-wise error is shared by.
    """
    table = pseudo_values(values)
    by_family: dict[str, VarianceComponents] = {}
    start = 0
    for family in points.families:
        seeds = [sft_seed for _, sft_seed, _ in points.blocks_of(family)]
        if len(seeds) > 1:
            by_family[family] = variance_components(table[start : start + len(seeds)], seeds)
        start += len(seeds)
    if len(points.families) > 1 and len(by_family) == len(points.families):
        by_family[ALL_FAMILIES] = mean_components(list(by_family.values()))
    groups, judged = table.shape[1], ALL_FAMILIES if len(points.families) > 1 else points.families[0]
    design = _design(points, groups, contrasts)
    return [
        Spread(
            family=family,
            arm=pair[0].name,
            against=pair[1].name,
            components=components,
            groups=groups,
            detectable=smallest_detectable_effect(design, components) if family == judged else None,
        )
        for family, components in by_family.items()
    ]


def mean_components(of_families: Sequence[VarianceComponents]) -> VarianceComponents:
    """Means over families or contrasts, of those in which a component is known; NaN where it is in none."""
    every = [vars(components) for components in of_families]
    known = {name: [one[name] for one in every if not math.isnan(one[name])] for name in every[0]}
    return VarianceComponents(
        **{name: float(np.mean(values)) if values else math.nan for name, values in known.items()}
    )


def _design(points: Points, groups: int, comparisons: int) -> Design:
    """The sweep as it was compared, by its least repeated family."""
    seeds = [[sft_seed for _, sft_seed, _ in points.blocks_of(family)] for family in points.families]
    return Design(
        sft_seeds=min(len(set(of_family)) for of_family in seeds),
        runs=min(len(of_family) // len(set(of_family)) for of_family in seeds),
        items=groups,
        families=len(points.families),
        comparisons=comparisons,
    )
