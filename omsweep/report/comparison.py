"""What a sweep answers to its question: arms compared on the report split, their controls, and how sure it all is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from omsweep.evaluation.comparison.arms import Choice, block_values, candidates, choices, chosen, matched_kl
from omsweep.evaluation.comparison.blocks import block_mean
from omsweep.evaluation.comparison.estimate import Estimate
from omsweep.evaluation.comparison.headline import Comparison, compare, judged
from omsweep.evaluation.comparison.measures import KL, MEASURES, REWARD, TAX, Limits
from omsweep.evaluation.comparison.points import Arm, Block, Pair, Points
from omsweep.evaluation.comparison.question import Question
from omsweep.pareto import Objectives, attainment_surface, front, front_probability_over_units
from omsweep.report.comparison_spread import Spread, spreads

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class ArmFound:
    """One arm in one family.

    Args:
        choice: what it chose at tax <= t.
        front_probability: chance that the mean of its choices is beaten by no other arm's in both tax and reward, given
            the scatter over SFT seeds (with one, over runs); None without two of them.
        hypervolume: mean over blocks of the area its candidates dominate on the report split.
        surface: [K, 2] (tax, reward), corners of what half of its blocks attain.
    """

    choice: Choice
    front_probability: float | None
    hypervolume: Estimate
    surface: Floats


@dataclass(frozen=True, kw_only=True)
class Findings:
    """Everything the report says about the question.

    Args:
        question: what was asked.
        limits: by family; empty when nothing could be read.
        headline: judged comparisons of the arms.
        controls: judged comparisons with the controls; their verdicts share the headline's family-wise error.
        arms: every family and arm of both.
        spreads: of every pair.
        blocks: those that were compared.
        left_out: blocks left out because something in them is missing.
        kl_matched: whether a KL limit could be set.
        missing: what is not shown and why.
    """

    question: Question
    limits: Mapping[str, Limits]
    headline: Sequence[Comparison]
    controls: Sequence[Comparison]
    arms: Sequence[ArmFound]
    spreads: Sequence[Spread]
    blocks: Sequence[Block]
    left_out: Sequence[Block]
    kl_matched: bool
    missing: Sequence[str]

    @property
    def families(self) -> list[str]:
        """Families in the order of their blocks."""
        return list(dict.fromkeys(family for family, _, _ in self.blocks))


def nothing_found(question: Question, missing: Sequence[str]) -> Findings:
    """Findings of a sweep that cannot be read, for the reasons given."""
    return Findings(
        question=question,
        limits={},
        headline=(),
        controls=(),
        arms=(),
        spreads=(),
        blocks=(),
        left_out=(),
        kl_matched=False,
        missing=tuple(missing),
    )


def findings(points: Points, question: Question, objectives: Objectives, missing: Sequence[str] = ()) -> Findings:
    """Compare the arms of a table of policies.

    Args:
        points: the policies.
        question: which labels are what.
        objectives: whose reference point bounds the area.
        missing: what is known not to be shown; more may be added.
    """
    said = list(missing)
    merged = set(points.label[points.merged].tolist())
    headline = _readable(points, question.headline(merged), said)
    controls = _readable(points, question.control_pairs(merged), said)
    kl = _kl_limits(points, [label for label in (question.baseline, *question.online) if label], said)
    limits = {
        family: Limits(
            tax=question.tax_limit,
            kl=kl.get(family, 0.0),
            reference_tax=objectives.reference_tax,
            reference_reward=objectives.reference_reward,
        )
        for family in points.families
    }
    measures = [name for name, measure in MEASURES.items() if kl or KL not in measure.reads]
    pairs = [*headline, *controls]
    lines = judged([line for pair in pairs for line in _compared(points, pair, limits, measures, said)])
    asked = {(pair[0].name, pair[1].name) for pair in headline}
    arms = sorted({arm for pair in pairs for arm in pair}, key=lambda a: (question.labels.index(a.label), a.merged))
    return Findings(
        question=question,
        limits=limits,
        headline=[line for line in lines if (line.arm, line.against) in asked],
        controls=[line for line in lines if (line.arm, line.against) not in asked],
        arms=_arms(points, arms, limits) if arms else (),
        spreads=[spread for pair in pairs for spread in spreads(points, pair, limits, lines)],
        blocks=points.blocks,
        left_out=points.left_out,
        kl_matched=bool(kl),
        missing=tuple(dict.fromkeys(said)),
    )


def _readable(points: Points, pairs: Sequence[Pair], said: list[str]) -> list[Pair]:
    """The pairs whose arms have policies with a reward and a tax each; says of which arms they have not."""
    arms = dict.fromkeys(arm for pair in pairs for arm in pair)
    reasons = {arm: _unreadable(points, arm) for arm in arms}
    said += [f"comparisons with {arm.name}: {reason}" for arm, reason in reasons.items() if reason]
    return [pair for pair in pairs if not (reasons[pair[0]] or reasons[pair[1]])]


def _unreadable(points: Points, arm: Arm) -> str:
    members = arm.members(points)
    if not (points.label == arm.label).any():
        return "no run in a complete block ended with a policy"
    both = np.concatenate(
        [points.search[members, None], points.report[members, None], points.report_without[members]], 1
    )
    return "" if np.isfinite(both[:, :, [REWARD, TAX]]).all() else "a reward or tax of its policies is missing"


def _kl_limits(points: Points, labels: Sequence[str], said: list[str]) -> dict[str, float]:
    """By family the KL at which arms are matched; empty, and said why, where a KL is not known."""
    trained = np.isin(points.label, labels) & ~points.merged
    family = np.array([block[0] for block in points.block])
    for name in points.families:
        known = points.search[trained & (family == name), KL]
        if len(known) == 0 or not np.isfinite(known).all():
            said.append(f"reward at matched KL: the KL to the SFT model of the trained runs of {name} is not known")
            return {}
    return matched_kl(points, labels)


def _compared(
    points: Points, pair: Pair, limits: Mapping[str, Limits], measures: Sequence[str], said: list[str]
) -> list[Comparison]:
    lines: list[Comparison] = []
    for measure in measures:
        try:
            lines += compare(points, [pair], limits, measures=[measure])
        except ValueError as error:
            said.append(f"{MEASURES[measure].title.lower()} of {pair[0].name} against {pair[1].name}: {error}")
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
        inside = [i for i, block in enumerate(points.blocks) if block[0] == choice.family]
        chance = chances[choice.family]
        surface = attainment_surface([fronts[place][i] for i in inside], 0.5)
        found.append(
            ArmFound(
                choice=choice,
                front_probability=None if chance is None else float(chance[place]),
                hypervolume=block_mean(areas[place][inside], [points.blocks[i] for i in inside]),
                surface=surface * [1.0, -1.0],
            )
        )
    return found


def _front_probability(points: Points, family: str, picked: Floats) -> Floats | None:
    """Probability of being non-dominated, [N], over SFT seeds, or runs of a single one; None for one unit."""
    inside = np.array([block[0] == family for block in points.blocks])
    blocks = [block for block in points.blocks if block[0] == family]
    several = len({block[1] for block in blocks}) > 1
    unit = np.array([block[1] if several else block[2] for block in blocks])
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
