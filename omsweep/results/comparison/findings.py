"""What a sweep answers to its question: contrasts of arms on the report split, and how sure they are."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import numpy as np

from omsweep.results.comparison.contrasts import ALL_FAMILIES, Line, Support, judged, lines_of, support_of
from omsweep.results.comparison.curves import Curve, block_weights, curve_of, report_track
from omsweep.results.comparison.points import TAX, Arm, Block, Floats, Pair, Points
from omsweep.results.comparison.question import Question
from omsweep.results.comparison.spread import Spread, spreads

WHOLE = 0.999
"""Share of a limit that a curve reaches when it is not said to fall short of it."""


@dataclass(frozen=True, kw_only=True)
class Rung:
    """The policies of an arm at one dose in a family; means over blocks, of the report split.

    Args:
        family: the family.
        arm: the arm's name.
        dose: factor on the learning rate of the block.
        reward: scorer units.
        tax: points.
        kl: nats per completion; NaN where one is not known.
        moved: means over its runs of how far they went (`MOVED`), those that are known.
    """

    family: str
    arm: str
    dose: float
    reward: float
    tax: float
    kl: float
    moved: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Track:
    """What is drawn of an arm in a family: (tax, reward) [J, 2] along its curve up to t, on the report split."""

    family: str
    arm: Arm
    track: Floats


@dataclass(frozen=True, kw_only=True)
class Findings:
    """Everything the report says about the question; without blocks, why nothing could be read is in `missing`.

    Args:
        question: what was asked.
        lines: every measure of every contrast.
        supports: by contrast and family, up to where it could be read.
        rungs: of every family and arm, those with merges on their way back left out.
        tracks: what is drawn.
        spreads: where the scatter of the contrasts comes from.
        blocks: those that were compared.
        left_out: blocks left out because something in them is missing.
        missing: what is not shown and why.
    """

    question: Question
    lines: Sequence[Line] = ()
    supports: Mapping[tuple[Pair, str], Support] = field(default_factory=dict)
    rungs: Sequence[Rung] = ()
    tracks: Sequence[Track] = ()
    spreads: Sequence[Spread] = ()
    blocks: Sequence[Block] = ()
    left_out: Sequence[Block] = ()
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
    missing: Sequence[str] = (),
    moved: Mapping[tuple[str, str, float], Mapping[str, float]] = MappingProxyType({}),
    *,
    final: bool = True,
) -> Findings:
    """Compare the arms of a table of policies.

    Args:
        points: the policies.
        question: what is compared with what.
        missing: what is known not to be shown; more may be added.
        moved: by family, arm and dose (`Rung.moved`).
        final: whether the sweep has ended; before, every verdict is `not shown`.
    """
    said = [*missing, *(f"blocks of {trial}: it has no reward or tax" for trial in points.unread), *_uneven(points)]
    present = [arm for arm in question.arms if (points.label == arm.label).any()]
    said += [f"contrasts with {arm.name}: it left no policy" for arm in question.arms if arm not in present]
    curves = {(family, arm): curve_of(points, arm, family) for family in points.families for arm in present}
    said += [_lost(arm, family, curve, points) for (family, arm), curve in curves.items() if curve.lost]
    lines: list[Line] = []
    values: dict[Pair, Floats] = {}
    supports: dict[tuple[Pair, str], Support] = {}
    for pair in question.contrasts:
        if not {*pair, question.baseline} <= set(present):
            continue
        read = _supports(points, question, pair, curves, said)
        if not read:
            continue
        try:
            found, values[pair] = lines_of(points, pair, question.baseline, curves, read)
        except ValueError as error:
            said.append(f"{pair[0].name} against {pair[1].name}: {error}")
            continue
        lines += found
        supports |= {(pair, family): support for family, support in read.items()}
    contrasts = len(question.contrasts)
    lines = judged(lines, points.families, question.delta, contrasts)
    if not final:
        lines = [line if line.verdict is None else replace(line, verdict="not shown") for line in lines]
    return Findings(
        question=question,
        lines=lines,
        supports=supports,
        rungs=[rung for (family, arm), curve in curves.items() for rung in _rungs(points, arm, family, curve, moved)],
        tracks=[
            Track(family=family, arm=arm, track=report_track(points, curve, family, question.limit_of(family)))
            for (family, arm), curve in curves.items()
            if curve.reach(TAX) > 0
        ],
        spreads=[spread for pair, table in values.items() for spread in spreads(points, pair, table, contrasts)],
        blocks=points.blocks,
        left_out=points.left_out,
        missing=tuple(dict.fromkeys(said)),
    )


def _supports(
    points: Points, question: Question, pair: Pair, curves: Mapping[tuple[str, Arm], Curve], said: list[str]
) -> dict[str, Support]:
    """Where a pair can be read in every family; nothing, with a reason, where one of them has no support."""
    found = {}
    for family in points.families:
        own = [curves[family, arm] for arm in pair]
        limit, name = question.limit_of(family), f"{pair[0].name} against {pair[1].name}"
        try:
            found[family] = support_of(own, curves[family, question.baseline], limit)
        except ValueError as error:
            said.append(f"{name}: in {family}, {error}")
            return {}
        if found[family].tax < WHOLE * limit:
            said.append(
                f"{name} above tax {found[family].tax:.3g} in {family}: no more is common to both (t = {limit:g})"
            )
    return found


def _lost(arm: Arm, family: str, curve: Curve, points: Points) -> str:
    highest = f"above dose {max(curve.doses):g}" if curve.doses else "at all"
    return (
        f"{arm.name} in {family} {highest}: it left no policy in {curve.lost} of {len(points.blocks_of(family))} blocks"
    )


def _uneven(points: Points) -> list[str]:
    """Why all families together have no interval where some repeat SFT seeds and others do not."""
    several = [f for f in points.families if len({sft_seed for _, sft_seed, _ in points.blocks_of(f)}) > 1]
    if not several or len(several) == len(points.families):
        return []
    return [f"an interval over {ALL_FAMILIES}: only {', '.join(several)} has more than one SFT seed"]


def _rungs(
    points: Points,
    arm: Arm,
    family: str,
    curve: Curve,
    moved: Mapping[tuple[str, str, float], Mapping[str, float]],
) -> list[Rung]:
    """The arm's ladder; of an arm with ways back its runs' ladder stands there already."""
    if len(curve.paths) != 1:
        return []
    means = np.tensordot(block_weights(points, family), curve.report[:, 0], axes=1)
    found = []
    for dose, column in zip(curve.doses, curve.paths[0].columns[1:], strict=True):
        reward, tax, kl = means[column].tolist()
        went = moved.get((family, arm.name, dose), {})
        found.append(Rung(family=family, arm=arm.name, dose=dose, reward=reward, tax=tax, kl=kl, moved=went))
    return found
