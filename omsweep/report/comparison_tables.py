"""The findings as tables: the headline, the controls, the arms, and where the scatter comes from."""

import math
from collections.abc import Iterable, Sequence

from omsweep.evaluation.comparison.estimate import Estimate
from omsweep.evaluation.comparison.headline import ALL_FAMILIES, Comparison
from omsweep.evaluation.comparison.measures import MEASURES
from omsweep.evaluation.comparison.points import Arm
from omsweep.evaluation.comparison.question import Question
from omsweep.report.comparison import ArmFound, Findings, Spread
from omsweep.report.comparison_formats import Cell, Table
from omsweep.report.comparison_reading import LEVEL
from omsweep.report.numbers import MISSING, fixed, short

DIGITS = {"reward_at_tax": 3, "attainment_area": 2, "reward_at_kl": 3}
UNITS = {"sft_seed": "SFT seeds", "run": "runs"}


def tables(found: Findings) -> list[Table]:
    """Those that have rows, in the order in which they are read."""
    made = (headline_table(found), controls_table(found), arms_table(found), variance_table(found))
    return [table for table in made if table.rows]


def headline_table(found: Findings) -> Table:
    """Arms against arms: one row per comparison and family."""
    count = len(found.headline) + len(found.controls)
    notes = [
        "Differences in each block (family, SFT seed, run), averaged; chosen on the search split, read on the report "
        f"split; t = {short(found.question.tax_limit)} points{_kl_note(found)}. The SFT model (reward 0, tax 0) is a "
        "candidate of every arm.",
        f"Brackets: {100 * LEVEL:.0f} % intervals over {_outermost(found.headline)}, with items inside. Verdicts: "
        f"false in at most 5 % of reports, over all {count} comparisons of this one (Holm).",
        f"Blocks: {_blocks(found)}.{_left_out(found)}",
    ]
    title = "Does merging do it, and is online better than offline?"
    return _comparison_table("headline", title, found.headline, found, notes)


def controls_table(found: Findings) -> Table:
    """Online branches against what merges as they do, but for tau."""
    shown = {line.against for line in found.controls}
    arms = {name: c for c in found.question.controls for name in (c.label, Arm(c.label, merged=True).name)}
    whats = dict.fromkeys(f"{arms[name].label}: {_WHAT[arms[name].what]}" for name in arms if name in shown)
    notes = [f"{'; '.join(whats)}.", "Same choice, splits, intervals and family-wise error as the headline."]
    return _comparison_table("controls", "Is it the direction of tau?", found.controls, found, notes)


_WHAT = {
    "permuted": "tau's entries in another order within each tensor",
    "flipped": "-tau, back towards the base model",
    "other_seed": "tau of an SFT model with another seed",
    "alpha 0": "the mask without tau",
}


def arms_table(found: Findings) -> Table:
    """What each arm chose, and what its candidates attain."""
    notes = [
        "Reward, tax and KL: means on the report split of what was chosen at tax \u2264 t on the search split. SFT "
        "chosen: blocks in which nothing within the limit had a reward above 0. Tax above t: blocks in which the "
        "choice's tax on the report split exceeds t. P(front): chance that no other arm's mean choice has more reward "
        "at less tax, given the scatter over SFT seeds (with one, over runs). Hypervolume: mean over blocks, on the "
        "report split.",
    ]
    return Table(
        name="arms",
        title="Arms",
        columns=[
            *("arm", "family", "candidates", "P(front)", "hypervolume", "reward", "tax", "KL", "SFT chosen"),
            "tax above t",
        ],
        numeric=[False, False, *[True] * 8],
        rows=[_arm_row(arm, found.question) for arm in found.arms],
        notes=notes,
    )


def _arm_row(arm: ArmFound, question: Question) -> list[Cell]:
    choice = arm.choice
    least, most = choice.candidates
    values = [
        lettered(choice.arm, question),
        choice.family,
        str(least) if least == most else f"{least}\u2013{most}",
        fixed(arm.front_probability),
    ]
    chosen = [fixed(choice.reward, 3, signed=True), fixed(choice.tax, signed=True), fixed(choice.kl)]
    chosen += [f"{count} of {choice.blocks}" for count in (choice.sft_chosen, choice.over_limit)]
    volume = Cell(value=fixed(arm.hypervolume.value), sureness=interval(arm.hypervolume, 2))
    return [*(Cell(value=value) for value in values), volume, *(Cell(value=value) for value in chosen)]


def variance_table(found: Findings) -> Table:
    """Where the scatter of a difference in reward at tax <= t comes from, and what it lets one see."""
    notes = [
        "Standard deviations of a difference in reward at tax \u2264 t: between SFT seeds, between training seeds "
        "within one, by the report split's items in all runs alike, and by items in one run. Smallest detectable: the "
        "true difference that a sweep of this size calls better with probability 0.8, by these variances.",
    ]
    return Table(
        name="variance",
        title="Where the scatter comes from",
        columns=["comparison", "family", "SFT seed", "training seed", "items", "rest", "smallest detectable"],
        numeric=[False, False, *[True] * 5],
        rows=[_spread_row(spread, found.question) for spread in found.spreads],
        notes=notes,
    )


def _spread_row(spread: Spread, question: Question) -> list[Cell]:
    parts = spread.components
    values = [
        _minus(spread.arm, spread.against, question),
        spread.family,
        *(_deviation(variance) for variance in (parts.sft_seed, parts.training_seed)),
        *(_deviation(variance / spread.groups) for variance in (parts.item, parts.residual)),
        _effect(spread),
    ]
    return [Cell(value=value) for value in values]


def lettered(arm: str, question: Question) -> str:
    """`(c) ondare`; a control has no letter."""
    letters = {"a": Arm(question.baseline or ""), "b": Arm(question.baseline or "", merged=True)}
    for letter, given in letters.items():
        if arm == given.name:
            return f"({letter}) {arm}"
    for online in question.online:
        if arm in (Arm(online).name, Arm(online, merged=True).name):
            return f"({'c' if arm == online else 'd'}) {arm}"
    return arm


def interval(estimate: Estimate, digits: int) -> str:
    """`[-0.01, +0.25]`; empty when nothing was repeated."""
    low, high = estimate.interval(LEVEL)
    if not math.isfinite(low):
        return ""
    return f"[{fixed(low, digits, signed=True)}, {fixed(high, digits, signed=True)}]"


def _comparison_table(
    name: str, title: str, lines: Sequence[Comparison], found: Findings, notes: Sequence[str]
) -> Table:
    measures = [measure for measure in MEASURES if any(line.measure == measure for line in lines)]
    heads = {
        "reward_at_tax": f"reward at tax \u2264 {short(found.question.tax_limit)}",
        "attainment_area": "attainment area",
        "reward_at_kl": "reward at matched KL",
    }
    by_row: dict[tuple[str, str, str], dict[str, Comparison]] = {}
    for line in lines:
        by_row.setdefault((line.arm, line.against, line.family), {})[line.measure] = line
    rows = []
    for (arm, against, family), row in sorted(by_row.items(), key=lambda entry: entry[0][2] != ALL_FAMILIES):
        upper, lower = next(iter(row.values())).candidates
        values = [_minus(arm, against, found.question), family, f"{short(upper)} / {short(lower)}"]
        cells = [_difference(row[measure]) if measure in row else Cell() for measure in measures]
        rows.append([*(Cell(value=value) for value in values), *cells])
    columns = ["comparison", "family", "candidates", *(heads[measure] for measure in measures)]
    numeric = [False, False, *[True] * (len(columns) - 2)]
    return Table(name=name, title=title, columns=columns, numeric=numeric, rows=rows, notes=notes)


def _minus(arm: str, against: str, question: Question) -> str:
    return f"{lettered(arm, question)} \u2212 {lettered(against, question)}"


def _difference(line: Comparison) -> Cell:
    digits = DIGITS[line.measure]
    value = fixed(line.estimate.value, digits, signed=True)
    return Cell(value=value, sureness=interval(line.estimate, digits), verdict=line.verdict)


def _kl_note(found: Findings) -> str:
    if not found.kl_matched:
        return ""
    limits = ", ".join(f"{family} {fixed(limit.kl)}" for family, limit in found.limits.items())
    return f"; matched KL: at most the median of the trained runs ({limits} nats)"


def _outermost(lines: Iterable[Comparison]) -> str:
    names = dict.fromkeys(UNITS.get(line.estimate.outermost or "", "nothing: no unit is repeated") for line in lines)
    return " or ".join(names)


def _blocks(found: Findings) -> str:
    return ", ".join(f"{family} {sum(b[0] == family for b in found.blocks)}" for family in found.families)


def _left_out(found: Findings) -> str:
    if not found.left_out:
        return ""
    named = ", ".join(" ".join(block) for block in found.left_out[:5])
    more = f" and {len(found.left_out) - 5} more" if len(found.left_out) > 5 else ""
    return f" Left out, because something in them failed or was not run: {named}{more}."


def _deviation(variance: float) -> str:
    return fixed(math.sqrt(variance), 3) if math.isfinite(variance) else MISSING


def _effect(spread: Spread) -> str:
    if spread.detectable is None:
        return MISSING
    return "none" if math.isinf(spread.detectable) else fixed(spread.detectable, 3)
