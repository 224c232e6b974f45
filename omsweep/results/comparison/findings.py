"""What a sweep answers to its question: arms compared on the report split, their controls, and how sure it all is."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np

from omsweep.pareto import attainment_surface, front, front_probability_over_units
from omsweep.results.comparison.arms import Choice, block_values, candidates, choices, chosen, matched_kl
from omsweep.results.comparison.clusters import block_mean
from omsweep.results.comparison.estimate import Estimate
from omsweep.results.comparison.headline import Comparison, compare, judged, run_differences
from omsweep.results.comparison.measures import KL, MEASURES, REWARD, TAX, Limits
from omsweep.results.comparison.points import Arm, Block, Floats, Pair, Points
from omsweep.results.comparison.question import Question
from omsweep.results.comparison.spread import Spread, spreads
from omsweep.results.objectives import Objectives


@dataclass(frozen=True, kw_only=True)
class ArmFound:
    """One arm in one family.

    Args:
        choice: what it chose at tax <= t.
        front_probability: chance that the mean of its choices is beaten by no other arm's in both tax and reward, given
            the scatter over SFT seeds (with one, over runs); None without two of them, or where it chose the SFT model
            in every block.
        hypervolume: mean over blocks of the area its candidates dominate on the report split.
        surface: [K, 2] (tax, reward), corners of what half of its blocks attain.
    """

    choice: Choice
    front_probability: float | None
    hypervolume: Estimate
    surface: Floats


@dataclass(frozen=True, kw_only=True)
class Findings:
    """Everything the report says about the question; without blocks, why nothing could be read is in `missing`.

    Args:
        question: what was asked.
        limits: by family.
        headline: judged comparisons of the arms.
        controls: judged comparisons with the controls; their verdicts share the headline's family-wise error.
        runs: plain differences between runs, nothing chosen and nothing judged.
        arms: every family and arm of both.
        spreads: of every pair.
        blocks: those that were compared.
        left_out: blocks left out because something in them is missing.
        displacement: by family and label, how far its runs moved from the SFT model over how far the baseline's of the
            same block did, mean over blocks.
        kl_matched: whether a KL limit could be set.
        missing: what is not shown and why.
    """

    question: Question
    limits: Mapping[str, Limits] = field(default_factory=dict)
    headline: Sequence[Comparison] = ()
    controls: Sequence[Comparison] = ()
    runs: Sequence[Comparison] = ()
    arms: Sequence[ArmFound] = ()
    spreads: Sequence[Spread] = ()
    displacement: Mapping[tuple[str, str], float] = field(default_factory=dict)
    blocks: Sequence[Block] = ()
    left_out: Sequence[Block] = ()
    kl_matched: bool = False
    missing: Sequence[str]

    @property
    def block_counts(self) -> dict[str, int]:
        """Number of blocks by family, in their order."""
        return dict(Counter(family for family, _, _ in self.blocks))

    @property
    def families(self) -> list[str]:
        """Families in the order of their blocks."""
        return list(self.block_counts)


def findings(
    points: Points,
    question: Question,
    objectives: Objectives,
    missing: Sequence[str] = (),
    displacement: Mapping[tuple[str, str], float] = MappingProxyType({}),
) -> Findings:
    """Compare the arms of a table of policies.

    Args:
        points: the policies.
        question: which labels are what.
        objectives: whose reference point bounds the area.
        missing: what is known not to be shown; more may be added.
        displacement: by family and label, over the baseline's.
    """
    said = [*missing, *(f"blocks of {trial}: it has no reward or tax" for trial in points.unread), *_uneven(points)]
    merged = set(points.label[points.merged].tolist())
    headline = _readable(points, question.headline(merged), said)
    controls = _readable(points, question.control_pairs(merged), said)
    try:
        kl = matched_kl(points, [label for label in (question.baseline, *question.online) if label])
    except ValueError as error:
        kl = {}
        said.append(f"reward at matched KL: {error}")
    limits = {
        family: Limits(
            tax=question.limit_of(family),
            kl=kl.get(family, 0.0),
            reference_tax=objectives.reference_tax,
            reference_reward=objectives.reference_reward,
        )
        for family in points.families
    }
    pairs = [*headline, *controls]
    lines = judged([line for pair in pairs for line in _compared(points, pair, limits, bool(kl), said)])
    asked = {(pair[0].name, pair[1].name) for pair in headline}
    arms = sorted({arm for pair in pairs for arm in pair}, key=lambda a: (question.labels.index(a.label), a.merged))
    return Findings(
        question=question,
        limits=limits,
        headline=[line for line in lines if (line.arm, line.against) in asked],
        controls=[line for line in lines if (line.arm, line.against) not in asked],
        runs=run_differences(points, pairs, limits),
        arms=_arms(points, arms, limits) if arms else (),
        spreads=[spread for pair in pairs for spread in spreads(points, pair, limits, lines)],
        displacement=displacement,
        blocks=points.blocks,
        left_out=points.left_out,
        kl_matched=bool(kl),
        missing=tuple(dict.fromkeys(said)),
    )


def _readable(points: Points, pairs: Sequence[Pair], said: list[str]) -> list[Pair]:
    """The pairs whose arms have policies; says of which arms they have not."""
    arms = dict.fromkeys(arm for pair in pairs for arm in pair)
    without = [arm for arm in arms if arm.label not in points.label]
    said += [f"comparisons with {arm.name}: no run in a complete block ended with a policy" for arm in without]
    return [pair for pair in pairs if not set(pair) & set(without)]


def _uneven(points: Points) -> list[str]:
    """Why all families together have no interval where some repeat SFT seeds and others do not."""
    several = [family for family in points.families if len(set(points.sft_seeds(family))) > 1]
    if not several or len(several) == len(points.families):
        return []
    return [f"an interval over all families: only {', '.join(several)} has more than one SFT seed"]


def _compared(
    points: Points, pair: Pair, limits: Mapping[str, Limits], kl_matched: bool, said: list[str]
) -> list[Comparison]:
    """All that a pair is compared by; says what cannot be read."""
    lines: list[Comparison] = []
    for name, measure in MEASURES.items():
        if KL in measure.reads and not (kl_matched and all(arm.merged for arm in pair)):
            continue  # within a KL only grids are compared: a run alone has one KL, within the limit or not
        try:
            lines += compare(points, [pair], limits, measures=[name])
        except ValueError as error:
            said.append(f"{measure.title.lower()} of {pair[0].name} against {pair[1].name}: {error}")
    return lines


def _arms(points: Points, arms: Sequence[Arm], limits: Mapping[str, Limits]) -> list[ArmFound]:
    """Every family and arm, in that order."""
    picked = np.stack([chosen(points, arm, limits) for arm in arms], axis=1)  # [B, N, 3]
    areas = [block_values(points, arm, MEASURES["attainment_area"], limits) for arm in arms]
    chances = {family: _front_probability(points, family, picked) for family in points.families}
    fronts = [_report_fronts(points, arm) for arm in arms]
    found = []
    for choice in choices(points, arms, limits):
        place = next(i for i, arm in enumerate(arms) if arm.name == choice.arm)
        inside = points.places(choice.family)
        chance, idle = chances[choice.family], choice.sft_chosen == choice.blocks
        surface = attainment_surface([fronts[place][i] for i in inside], 0.5)
        found.append(
            ArmFound(
                choice=choice,
                front_probability=None if idle or chance is None else float(chance[place]),
                hypervolume=block_mean(areas[place][inside], [points.blocks[i] for i in inside]),
                surface=surface * [1.0, -1.0],
            )
        )
    return found


def _front_probability(points: Points, family: str, picked: Floats) -> Floats | None:
    """Probability of being non-dominated, [N], over SFT seeds, or runs of a single one; None for one unit."""
    inside, sft_seeds = points.places(family), points.sft_seeds(family)
    several = len(set(sft_seeds)) > 1
    unit = np.array(sft_seeds if several else [points.blocks[i][2] for i in inside])
    losses = picked[inside][:, :, [TAX, REWARD]] * [1.0, -1.0]
    values = np.stack([losses[unit == name].mean(axis=0) for name in np.unique(unit)])
    return front_probability_over_units(values) if len(values) > 1 else None


def _report_fronts(points: Points, arm: Arm) -> list[Floats]:
    """By block the losses (tax, -reward) on the report split of the candidates on the search split's front."""
    fronts = []
    for search, report in candidates(points, arm):
        on_front = front(search[:, [TAX, REWARD]] * [1.0, -1.0])
        fronts.append(report[0][on_front][:, [TAX, REWARD]] * [1.0, -1.0])
    return fronts
