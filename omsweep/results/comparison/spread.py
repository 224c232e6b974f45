"""Where the scatter of a difference comes from, and the smallest difference that it lets one see."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from omsweep.results.comparison.arms import block_values
from omsweep.results.comparison.blocks import pseudo_values
from omsweep.results.comparison.components import VarianceComponents, variance_components
from omsweep.results.comparison.detectable import Design, smallest_detectable_effect
from omsweep.results.comparison.headline import ALL_FAMILIES, PRIMARY, Comparison
from omsweep.results.comparison.measures import MEASURES, Limits
from omsweep.results.comparison.points import Pair, Points


@dataclass(frozen=True, kw_only=True)
class Spread:
    """Where the scatter of a difference in reward at tax <= t comes from, in a family or as the mean of families.

    Args:
        family: a family or `ALL_FAMILIES`.
        arm: its name.
        against: the other arm's name.
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
        inside = np.array([block[0] == family for block in points.blocks])
        compared = ((first != 0) | (second != 0))[inside].any()
        if inside.sum() > 1 and compared:
            seeds = [block[1] for block in points.blocks if block[0] == family]
            by_family[family] = variance_components(table[inside], seeds)
    if len(points.families) > 1 and len(by_family) == len(points.families):
        by_family[ALL_FAMILIES] = mean_components(list(by_family.values()))
    names = {"arm": pair[0].name, "against": pair[1].name}
    groups, primary = table.shape[1], primary_family(points.families)
    spreads = []
    for family, components in by_family.items():
        design = _design(points, groups, primary_share(lines))
        effect = smallest_detectable_effect(design, components) if family == primary else None
        spreads.append(Spread(family=family, **names, components=components, groups=groups, detectable=effect))
    return spreads


def primary_family(families: Sequence[str]) -> str:
    """The row whose comparisons of reward at tax <= t share half of the family-wise error."""
    return ALL_FAMILIES if len(families) > 1 else families[0]


def primary_share(lines: Sequence[Comparison]) -> int:
    """Equal shares of the family-wise error of which a primary comparison has one at Holm's first step."""
    several = any(line.family == ALL_FAMILIES for line in lines)
    primary = sum(line.measure == PRIMARY and (line.family == ALL_FAMILIES or not several) for line in lines)
    return max(1, primary * (2 if primary < len(lines) else 1))


def mean_components(of_families: Sequence[VarianceComponents]) -> VarianceComponents:
    """Means over families; NaN where a component is not known in one of them."""
    names = ("sft_seed", "training_seed", "item", "residual")
    means = {name: float(np.mean([getattr(c, name) for c in of_families])) for name in names}
    return VarianceComponents(**means)


def _design(points: Points, groups: int, comparisons: int) -> Design:
    """The sweep as it was compared, by its least repeated family."""
    by_family = [[block for block in points.blocks if block[0] == family] for family in points.families]
    sft_seeds = min(len({block[1] for block in blocks}) for blocks in by_family)
    runs = min(len(blocks) / len({block[1] for block in blocks}) for blocks in by_family)
    return Design(
        sft_seeds=sft_seeds,
        runs=math.floor(runs),
        items=groups,
        families=len(points.families),
        comparisons=comparisons,
    )
