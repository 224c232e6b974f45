"""The findings as tables: verdicts, the contrasts read at one point, the rungs of every arm, where the scatter is."""

import math
from collections.abc import Iterable

from omsweep.report.cells import Cell
from omsweep.report.text_table import TextTable, latex, markdown, markdown_text
from omsweep.results.comparison.contrasts import PRIMARY, Line
from omsweep.results.comparison.estimate import Estimate
from omsweep.results.comparison.findings import Findings
from omsweep.results.comparison.reading import MOVED, interval_of
from omsweep.results.comparison.spread import Spread
from omsweep.results.numbers import INTERVAL_LEVEL, MISSING, counted, fixed

DIGITS = {"reward_at_tax": 3, "tax_at_reward": 2, "reward_at_kl": 3}
WORDS = 2
"""Columns that are words: which arms, and which family."""
UNITS = {"sft_seed": "SFT seeds", "run": "runs"}


def tables(found: Findings) -> list[TextTable]:
    """Those that have rows, in the order in which they are read."""
    kinds = (verdict_table, reading_table, rung_table, variance_table)
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


def verdict_table(found: Findings) -> TextTable:
    """One row per contrast: the difference in area over all families, its verdict, and each family's."""
    question, areas = found.question, [line for line in found.lines if line.measure == PRIMARY]
    judged = [line for line in areas if line.verdict is not None]
    families = found.families if len(found.families) > 1 else []
    rows = []
    for line in judged:
        own = {one.family: one for one in areas if (one.arm, one.against) == (line.arm, line.against)}
        verdict = f"equivalent within \u00b1{question.delta:g}" if line.verdict == "equivalent" else str(line.verdict)
        each = [_estimated(own[family].estimate, 3) if family in own else MISSING for family in families]
        rows.append([_minus(line), _estimated(line.estimate, 3, badge=verdict), fixed(line.adjusted_p, 3), *each])
    blocks = ", ".join(f"{family} {number}" for family, number in found.block_counts.items())
    notes = [
        f"Difference in the area between reward and tax up to tax = t ({question.limit_text(found.families)} points), "
        f"as a share of {question.baseline.name}'s area in the family; every arm has the same ladder of learning "
        "rates. Doses are chosen on the search split; reward and tax are both read on the report split.",
        f"Brackets: {100 * INTERVAL_LEVEL:.0f} % intervals over {_outermost(judged)}, with items inside. Verdicts hold "
        f"over the {counted(len(question.contrasts), 'contrast')} that the file names: any is false in at most 5 % of "
        f"reports (Holm), and equivalent means that a difference of {question.delta:g} or more is rejected. All other "
        "numbers of this comparison are descriptive.",
        f"Blocks: {blocks}.{_left_out(found)}",
    ]
    columns = ["contrast", "area, all families" if families else "area", "adjusted p", *families]
    return TextTable(title="What the sweep was asked", columns=columns, rows=rows, notes=notes)


def reading_table(found: Findings) -> TextTable:
    """Every contrast and family at one tax, one reward and one KL, without verdicts."""
    rows: dict[tuple[str, str], dict[str, Line]] = {}
    for line in found.lines:
        rows.setdefault((_minus(line), line.family), {})[line.measure] = line
    limits = {
        (f"{pair[0].name} \u2212 {pair[1].name}", family): fixed(support.tax)
        for (pair, family), support in found.supports.items()
    }
    heads = {
        "reward_at_tax": "reward at tax t",
        "tax_at_reward": "tax at equal reward",
        "reward_at_kl": "reward at KL k",
    }
    return TextTable(
        title="The same contrasts at one point",
        columns=["contrast", "family", "t", *heads.values()],
        words=WORDS,
        rows=[
            [
                *place,
                limits.get(place, MISSING),
                *(_estimated(row[m].estimate, DIGITS[m]) if m in row else MISSING for m in heads),
            ]
            for place, row in rows.items()
        ],
        notes=[
            "Descriptive, each interval for itself, uncorrected for their number. t: the tax up to which all arms of "
            "the contrast reach. Equal reward and k: what the baseline has at t on the search split. Where the report "
            "split's reading misses t, the reward or k, the rest is made up for along the curve's slope.",
        ],
    )


def rung_table(found: Findings) -> TextTable:
    """Where the policies of each arm ended, dose by dose."""
    return TextTable(
        title="Arms, dose by dose",
        columns=["arm", "family", "dose", "reward", "tax", "KL", *(name.replace("_", " ") for name in MOVED)],
        words=WORDS,
        rows=[
            [
                rung.arm,
                rung.family,
                f"{rung.dose:g}",
                fixed(rung.reward, 3, signed=True),
                fixed(rung.tax, signed=True),
                fixed(rung.kl),
                *(fixed(rung.moved.get(name), 3) for name in MOVED),
            ]
            for rung in found.rungs
        ],
        notes=[
            "Means over blocks on the report split. Dose: factor on the learning rate. A policy's distance from the "
            "SFT model is travel x tau plus a residual at right angles to tau; displacement is its length. Tau travel: "
            "what the merges added along the task vector that the arm merges.",
        ],
    )


def variance_table(found: Findings) -> TextTable:
    """Where the scatter of a difference in area comes from, and what it lets one see."""
    notes = [
        "Standard deviations of a difference in area (share of the baseline's): between SFT seeds, between training "
        "seeds within one, by the report split's items in all runs alike, and by items in one run. Smallest "
        "detectable: the true difference that a sweep of this size calls better with probability 0.8.",
    ]
    return TextTable(
        title="Where the scatter comes from",
        columns=["contrast", "family", "SFT seed", "training seed", "items", "rest", "smallest detectable"],
        words=WORDS,
        rows=[_spread_row(spread) for spread in found.spreads],
        notes=notes,
    )


def _spread_row(spread: Spread) -> list[str]:
    parts, effect = spread.components, spread.detectable
    return [
        _minus(spread),
        spread.family,
        *(_deviation(variance) for variance in (parts.sft_seed, parts.training_seed)),
        *(_deviation(variance / spread.groups) for variance in (parts.item, parts.residual)),
        MISSING if effect is None else "none" if math.isinf(effect) else fixed(effect, 3),
    ]


def _minus(row: Line | Spread) -> str:
    return f"{row.arm} \u2212 {row.against}"


def _estimated(estimate: Estimate, digits: int, badge: str = "") -> Cell:
    """`+0.12 [-0.01, +0.25]`; without an interval where nothing was repeated."""
    ends = interval_of(estimate)
    low, high = (fixed(end, digits, signed=True) for end in ends)
    interval = f"[{low}, {high}]" if math.isfinite(ends[0]) else ""
    return Cell(fixed(estimate.value, digits, signed=True), interval=interval, badge=badge)


def _outermost(lines: Iterable[Line]) -> str:
    names = dict.fromkeys(
        UNITS.get(line.estimate.outermost or "", "seeds, of which none is repeated") for line in lines
    )
    return " or ".join(names)


def _left_out(found: Findings) -> str:
    if not found.left_out:
        return ""
    named = ", ".join(" ".join(block) for block in found.left_out[:5])
    more = f" and {len(found.left_out) - 5} more" if len(found.left_out) > 5 else ""
    return f" Left out, because something in them failed or has no reward or tax: {named}{more}."


def _deviation(variance: float) -> str:
    return fixed(math.sqrt(variance), 3) if math.isfinite(variance) else MISSING
