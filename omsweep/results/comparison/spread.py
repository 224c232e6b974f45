"""Where the scatter of a difference comes from, and the smallest difference that it lets one see."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from omsweep.results.comparison.arms import block_values
from omsweep.results.comparison.clusters import pseudo_values
from omsweep.results.comparison.components import VarianceComponents, variance_components
from omsweep.results.comparison.detectable import Design, smallest_detectable_effect
from omsweep.results.comparison.headline import ALL_FAMILIES, PRIMARY, Comparison, primary_lines
from omsweep.results.comparison.measures import MEASURES, Limits
from omsweep.results.comparison.points import Pair, Points


@dataclass(frozen=True, kw_only=True)
class Spread:
    """Where the scatter of a difference in reward at tax <= t comes from, in a family or as the mean of families.

    Args:
        family: a family or `ALL_FAMILIES`.
        arm, against: names of both arms.
        components: per SFT seed, training seed and group of items, squared scorer units.
        groups: number of groups of items.
        detectable: smallest difference that this sweep would have called `better` with probability 0.8, scorer units;
            given where the comparison is a primary one, infinite where nothing is repeated.
    """

    family: str
    arm: str
    against: str
    components: VarianceComponents
    groups: int
    detectable: float | None


def spreads(points: Points, pair: Pair, limits: Mapping[str, Limits], lines: Sequence[Comparison]) -> list[Spread]:
    """The scatter of a pair's difference by family and, with several, their mean.

    A family in which both arms chose the SFT model in every block has none: nothing was compared.
    """
    first, second = (block_values(points, arm, MEASURES[PRIMARY], limits) for arm in pair)
    table = pseudo_values(first - second)  # [B, G]
    by_family: dict[str, VarianceComponents] = {}
    for family in points.families:
        inside = points.places(family)
        if len(inside) > 1 and (first[inside].any() or second[inside].any()):
            by_family[family] = variance_components(table[inside], points.sft_seeds(family))
    if len(points.families) > 1 and len(by_family) == len(points.families):
        by_family[ALL_FAMILIES] = mean_components(list(by_family.values()))
    groups, primary = table.shape[1], ALL_FAMILIES if len(points.families) > 1 else points.families[0]
    design = _design(points, groups, lines)
    return [
        Spread(
            family=family,
            arm=pair[0].name,
            against=pair[1].name,
            components=components,
            groups=groups,
            detectable=smallest_detectable_effect(design, components) if family == primary else None,
        )
        for family, components in by_family.items()
    ]


def mean_components(of_families: Sequence[VarianceComponents]) -> VarianceComponents:
    """Means over families; NaN where a component is not known in one of them."""
    every = [vars(components) for components in of_families]
    return VarianceComponents(**{name: float(np.mean([one[name] for one in every])) for name in every[0]})


def _design(points: Points, groups: int, lines: Sequence[Comparison]) -> Design:
    """The sweep as it was compared, by its least repeated family.

    A primary comparison has one of `comparisons` equal shares of the family-wise error at Holm's first step.
    """
    seeds = [points.sft_seeds(family) for family in points.families]
    primary = int(primary_lines(lines).sum())
    return Design(
        sft_seeds=min(len(set(of_family)) for of_family in seeds),
        runs=min(len(of_family) // len(set(of_family)) for of_family in seeds),
        items=groups,
        families=len(points.families),
        comparisons=max(1, primary * (2 if primary < len(lines) else 1)),
    )
