"""One table in Markdown, LaTeX and HTML."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from omsweep.report.markup import Column, badge, cell, text
from omsweep.report.markup import table as html_table
from omsweep.report.numbers import MISSING


@dataclass(frozen=True, kw_only=True)
class Cell:
    """What stands in a cell: a value, in a quieter tone how sure it is, and a verdict; each may be empty."""

    value: str = ""
    sureness: str = ""
    verdict: str = ""

    @property
    def parts(self) -> list[str]:
        """The parts that are there; a dash when none is."""
        return [part for part in (self.value, self.sureness, self.verdict) if part] or [MISSING]


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table for people.

    Args:
        name: a word for references.
        title: above it.
        columns: heads, in the text's words.
        numeric: whether a column's cells are set to the right.
        rows: cells in the order of the columns.
        notes: sentences under it.
    """

    name: str
    title: str
    columns: Sequence[str]
    numeric: Sequence[bool]
    rows: Sequence[Sequence[Cell]]
    notes: Sequence[str] = ()


def markdown(table: Table) -> str:
    """A heading, a pipe table and the notes; verdicts other than `not shown` are bold."""
    rules = ["---:" if numeric else "---" for numeric in table.numeric]
    lines = [_pipes([_plain(title) for title in table.columns]), _pipes(rules)]
    lines += [_pipes([_in_markdown(entry) for entry in row]) for row in table.rows]
    return "\n\n".join([f"## {_plain(table.title)}", "\n".join(lines), *(_plain(note) for note in table.notes)]) + "\n"


def latex(table: Table) -> str:
    """A `table` environment; needs the packages `booktabs` and `graphicx`."""
    kinds = "".join("r" if numeric else "l" for numeric in table.numeric)
    rows = [*(" & ".join(_in_latex(entry) for entry in row) for row in table.rows)]
    body = "".join(f"    {row} \\\\\n" for row in rows)
    caption = " ".join([f"{table.title}.", *table.notes])
    return (
        f"\\begin{{table}}\n  \\centering\n  \\caption{{{escaped_latex(caption)}}}\n  \\label{{tab:{table.name}}}\n"
        f"  \\resizebox{{\\ifdim\\width>\\linewidth\\linewidth\\else\\width\\fi}}{{!}}{{%\n"
        f"  \\begin{{tabular}}{{{kinds}}}\n    \\toprule\n"
        f"    {' & '.join(escaped_latex(title) for title in table.columns)} \\\\\n    \\midrule\n"
        f"{body}    \\bottomrule\n  \\end{{tabular}}}}\n\\end{{table}}\n"
    )


def html(table: Table) -> str:
    """A heading, the table, and the notes under it; everything escaped."""
    columns = [
        Column(title=title, numeric=numeric, pinned=i == 0)
        for i, (title, numeric) in enumerate(zip(table.columns, table.numeric, strict=True))
    ]
    rows = (
        f"<tr>{''.join(cell(_in_html(entry), column) for entry, column in zip(row, columns, strict=True))}</tr>"
        for row in table.rows
    )
    notes = "".join(f'<p class="lead">{text(note)}</p>' for note in table.notes)
    return f"<h3>{text(table.title)}</h3>{html_table(columns, rows, sortable=False, label=table.title)}{notes}"


_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{mark: f"\\{mark}" for mark in "&%$#_{}"},
    "<": "$<$",
    ">": "$>$",
    "\u2212": "$-$",
    "\u2264": r"$\leq$",
    "\u00b1": r"$\pm$",
    "\u00d7": r"$\times$",
    "\u2013": "--",
    "\u2026": r"\dots{}",
    "\u221e": r"$\infty$",
    "\u00b2": "$^2$",
    "\u00b7": r"$\cdot$",
}


def escaped_latex(value: str) -> str:
    """`value` as LaTeX text: its special characters and the symbols of this package as commands."""
    return re.sub(".", lambda match: _LATEX.get(match[0], match[0]), value, flags=re.DOTALL)


def _in_latex(entry: Cell) -> str:
    parts = [escaped_latex(part) for part in entry.parts]
    if entry.verdict in ("better", "worse"):
        parts[-1] = f"\\textbf{{{parts[-1]}}}"
    return " ".join(parts)


def _in_markdown(entry: Cell) -> str:
    parts = [_plain(part) for part in entry.parts]
    if entry.verdict in ("better", "worse"):
        parts[-1] = f"**{parts[-1]}**"
    return " ".join(parts)


def _in_html(entry: Cell) -> str:
    shown = [text(part) for part in entry.parts]
    if entry.sureness:
        shown[shown.index(text(entry.sureness))] = f'<span class="pm">{text(entry.sureness)}</span>'
    if entry.verdict:
        shown[-1] = badge(entry.verdict)
    return " ".join(shown)


def _pipes(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _plain(value: str) -> str:
    """Text in which Markdown sees no mark of its own."""
    return re.sub(r"([\\`*_{}\[\]<>|#])", r"\\\1", value)
