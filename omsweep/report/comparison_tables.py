"""The findings as tables: the headline, the controls, the arms, and where the scatter comes from."""

import math
from collections.abc import Iterable, Mapping, Sequence

from omsweep.report.cells import Cell
from omsweep.report.text_table import TextTable, latex, markdown, markdown_text
from omsweep.results.comparison.estimate import Estimate
from omsweep.results.comparison.findings import ArmFound, Findings
from omsweep.results.comparison.headline import ALL_FAMILIES, PRIMARY, Comparison
from omsweep.results.comparison.measures import MEASURES, RUN_MEASURES
from omsweep.results.comparison.points import Arm
from omsweep.results.comparison.question import Question
from omsweep.results.comparison.spread import Spread
from omsweep.results.numbers import INTERVAL_LEVEL, MISSING, fixed, short

DIGITS = {"reward_at_tax": 3, "attainment_area": 2, "reward_at_kl": 3}
RUN_DIGITS = {"run_reward": 3, "run_tax": 2, "run_kl": 2}
WORDS = 2
"""Columns of every table that are words."""
UNITS = {"sft_seed": "SFT seeds", "run": "runs"}


def tables(found: Findings) -> list[TextTable]:
    """Those that have rows, in the order in which they are read."""
    kinds = (headline_table, controls_table, runs_table, arms_table, variance_table)
    return [table for table in (kind(found) for kind in kinds) if table.rows]


def comparison_markdown(found: Findings, name: str) -> str:
    """The content of `comparison.md`: all tables, and what is not shown and why."""
    reasons = "".join(f"- {markdown_text(reason)}\n" for reason in found.missing)
    parts = [f"## Comparison of {markdown_text(name)}\n", *(markdown(table) for table in tables(found))]
    return "\n".join([*parts, *([f"### Not shown\n\n{reasons}"] if reasons else [])])


def comparison_latex(found: Findings, name: str) -> str:
    """The content of `comparison.tex`: all tables; needs the packages `booktabs` and `graphicx`."""
    head = f"% Comparison of {name}; needs \\usepackage{{booktabs}} and \\usepackage{{graphicx}}\n"
    reasons = "".join(f"% Not shown: {' '.join(reason.split())}\n" for reason in found.missing)
    return "\n".join([head + reasons, *(latex(table) for table in tables(found))])


def headline_table(found: Findings) -> TextTable:
    """Arms against arms: one row per comparison and family."""
    count = len(found.headline) + len(found.controls)
    blocks = ", ".join(f"{family} {number}" for family, number in found.block_counts.items())
    notes = [
        "Differences in each block (family, SFT seed, run), averaged; chosen on the search split, read on the report "
        f"split; t = {found.question.limit_text(found.families)} points{_kl_note(found)}. The SFT model (reward 0, tax "
        "0) is a candidate of every arm; SFT both: blocks in which both arms chose it at tax \u2264 t, so that nothing "
        "was compared.",
        f"Brackets: {100 * INTERVAL_LEVEL:.0f} % intervals over {_outermost(found.headline)}, with items inside. "
        f"Verdicts: false in at most 5 % of reports, over all {count} comparisons of this one (Holm), "
        "which asks for more than an interval without 0.",
        f"Blocks: {blocks}.{_left_out(found)}",
    ]
    title = "Does merging do it, and is online better than offline?"
    return _comparison_table(title, found.headline, found, notes)


def controls_table(found: Findings) -> TextTable:
    """Online branches against what merges as they do, but for tau or for the matching of its learning rate."""
    shown = {line.against for line in found.controls}
    arms = {name: c for c in found.question.controls for name in (c.label, Arm(c.label, merged=True).name)}
    whats = dict.fromkeys(f"{arms[name].label}: {_WHAT[arms[name].what]}" for name in arms if name in shown)
    notes = [f"{'; '.join(whats)}.", "Same choice, splits, intervals and family-wise error as the headline."]
    return _comparison_table("Is it the direction of tau?", found.controls, found, notes)


def runs_table(found: Findings) -> TextTable:
    """Runs against runs as they are: no limit, no choice, no verdict."""
    rows = [
        [names, family, *(_estimated(row[m].estimate, n) if m in row else MISSING for m, n in RUN_DIGITS.items())]
        for names, family, row in _by_row(found.runs, found)
    ]
    notes = [
        "Paired differences of the runs themselves on the report split, whatever their tax; one that diverged counts "
        "as the SFT model. Exploratory: each 90 % interval holds for itself, uncorrected for their number.",
    ]
    columns = ["comparison", "family", *(measure.title for measure in RUN_MEASURES)]
    return TextTable(title="Run against run", columns=columns, words=WORDS, rows=rows, notes=notes)


_WHAT = {
    "permuted": "tau's entries in another order within each tensor",
    "rotated": "a matrix's singular values with random singular vectors",
    "flipped": "-tau, back towards the base model",
    "other_seed": "tau of an SFT model with another seed",
    "alpha 0": "the mask without tau",
    "match none": "its learning rate as given, so that it moves less far",
    "match share": "its learning rate over the share of the update it keeps",
}


def arms_table(found: Findings) -> TextTable:
    """What each arm chose, and what its candidates attain."""
    notes = [
        "Displacement: of its runs, over AdamW's in the same block, mean over blocks; what is matched is the share of "
        "the update that is kept, so that ones that walk along tau or keep its largest entries end further away. "
        "Reward, tax and KL: means on the report split of what was chosen at tax \u2264 t on the search split. SFT "
        "chosen: blocks in which nothing within the limit had a reward above 0. Tax above t: blocks in which the "
        "choice's tax on the report split exceeds t. P(front): chance that no other arm's mean choice has more reward "
        "at less tax, given the scatter over SFT seeds (with one, over runs). Hypervolume: mean over blocks, on the "
        "report split.",
    ]
    return TextTable(
        title="Arms",
        columns=[
            *("arm", "family", "candidates", "displacement", "P(front)", "hypervolume", "reward", "tax", "KL"),
            *("SFT chosen", "tax above t"),
        ],
        words=WORDS,
        rows=[_arm_row(arm, found) for arm in found.arms],
        notes=notes,
    )


def _arm_row(arm: ArmFound, found: Findings) -> list[str | Cell]:
    choice = arm.choice
    least, most = choice.candidates
    values = [
        lettered(choice.arm, found.question),
        choice.family,
        str(least) if least == most else f"{least}\u2013{most}",
        fixed(found.displacement.get((choice.family, choice.arm))),
        fixed(arm.front_probability),
    ]
    chosen = [fixed(choice.reward, 3, signed=True), fixed(choice.tax, signed=True), fixed(choice.kl)]
    chosen += [f"{count} of {choice.blocks}" for count in (choice.sft_chosen, choice.over_limit)]
    return [*values, _estimated(arm.hypervolume, 2, signed=False), *chosen]


def variance_table(found: Findings) -> TextTable:
    """Where the scatter of a difference in reward at tax <= t comes from, and what it lets one see."""
    notes = [
        "Standard deviations of a difference in reward at tax \u2264 t: between SFT seeds, between training seeds "
        "within one, by the report split's items in all runs alike, and by items in one run. Smallest detectable: the "
        "true difference that a sweep of this size calls better with probability 0.8, by these variances.",
    ]
    return TextTable(
        title="Where the scatter comes from",
        columns=["comparison", "family", "SFT seed", "training seed", "items", "rest", "smallest detectable"],
        words=WORDS,
        rows=[_spread_row(spread, found.question) for spread in found.spreads],
        notes=notes,
    )


def _spread_row(spread: Spread, question: Question) -> list[str]:
    parts, effect = spread.components, spread.detectable
    return [
        _minus(spread.arm, spread.against, question),
        spread.family,
        *(_deviation(variance) for variance in (parts.sft_seed, parts.training_seed)),
        *(_deviation(variance / spread.groups) for variance in (parts.item, parts.residual)),
        MISSING if effect is None else "none" if math.isinf(effect) else fixed(effect, 3),
    ]


def lettered(arm: str, question: Question) -> str:
    """`(c) ondare`; a control has no letter."""
    letters: dict[str, str] = {}
    for run, merged, label in [*(("c", "d", label) for label in question.online), ("a", "b", question.baseline or "")]:
        letters |= {Arm(label).name: run, Arm(label, merged=True).name: merged}
    return f"({letters[arm]}) {arm}" if arm in letters else arm


def _estimated(estimate: Estimate, digits: int, *, signed: bool = True, badge: str = "") -> Cell:
    """`+0.12 [-0.01, +0.25]`; without an interval where nothing was repeated."""
    ends = estimate.interval(INTERVAL_LEVEL)
    low, high = (fixed(end, digits, signed=signed) for end in ends)
    interval = f"[{low}, {high}]" if math.isfinite(ends[0]) else ""
    return Cell(fixed(estimate.value, digits, signed=signed), interval=interval, badge=badge)


def _comparison_table(title: str, lines: Sequence[Comparison], found: Findings, notes: Sequence[str]) -> TextTable:
    measures = [measure for measure in MEASURES if any(line.measure == measure for line in lines)]
    limit = found.question.limit_text(found.families)
    heads = {
        "reward_at_tax": f"reward at tax \u2264 {limit if len(limit.split()) == 1 else 't'}",
        "attainment_area": "attainment area",
        "reward_at_kl": "reward at KL \u2264 k",
    }
    rows = []
    for names, family, row in _by_row(lines, found):
        upper, lower = next(iter(row.values())).candidates
        both_sft = f"{row[PRIMARY].both_sft} of {row[PRIMARY].blocks}" if PRIMARY in row else MISSING
        differences = [_difference(row[m]) if m in row else MISSING for m in measures]
        rows.append([names, family, f"{short(upper)} / {short(lower)}", both_sft, *differences])
    columns = ["comparison", "family", "candidates", "SFT both", *(heads[measure] for measure in measures)]
    return TextTable(title=title, columns=columns, words=WORDS, rows=rows, notes=notes)


def _by_row(lines: Iterable[Comparison], found: Findings) -> list[tuple[str, str, Mapping[str, Comparison]]]:
    """The pair, the family and the lines by measure of each row, all families together first."""
    rows: dict[tuple[str, str], dict[str, Comparison]] = {}
    for line in lines:
        pair = _minus(line.arm, line.against, found.question)
        rows.setdefault((pair, line.family), {})[line.measure] = line
    order = [ALL_FAMILIES, *found.families]
    return [(*key, row) for key, row in sorted(rows.items(), key=lambda entry: order.index(entry[0][1]))]


def _minus(arm: str, against: str, question: Question) -> str:
    return f"{lettered(arm, question)} \u2212 {lettered(against, question)}"


def _difference(line: Comparison) -> str | Cell:
    if line.both_sft == line.blocks:
        return "nothing compared"
    return _estimated(line.estimate, DIGITS[line.measure], badge=line.verdict)


def _kl_note(found: Findings) -> str:
    if not found.kl_matched:
        return ""
    limits = ", ".join(f"{family} {fixed(limit.kl)}" for family, limit in found.limits.items())
    return f"; k, for grids alone, is the median KL of the trained runs ({limits} nats)"


def _outermost(lines: Iterable[Comparison]) -> str:
    read = [line for line in lines if line.both_sft < line.blocks]
    names = dict.fromkeys(UNITS.get(line.estimate.outermost or "", "nothing: no unit is repeated") for line in read)
    return " or ".join(names)


def _left_out(found: Findings) -> str:
    if not found.left_out:
        return ""
    named = ", ".join(" ".join(block) for block in found.left_out[:5])
    more = f" and {len(found.left_out) - 5} more" if len(found.left_out) > 5 else ""
    return f" Left out, because something in them failed or was not run: {named}{more}."


def _deviation(variance: float) -> str:
    return fixed(math.sqrt(variance), 3) if math.isfinite(variance) else MISSING
