"""A table of texts as Markdown, LaTeX (with booktabs and graphicx), for the page or a terminal: all escape them."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.text import Text

from omsweep.redaction import visible
from omsweep.report.cells import Cell, Column, Row, Table


@dataclass(frozen=True, kw_only=True)
class TextTable:
    """Texts in rows; the first `words` columns are words, the others numbers. `notes` are sentences under it."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str | Cell]]
    words: int = 1
    notes: Sequence[str] = ()

    def __post_init__(self) -> None:
        widths = {len(row) for row in self.rows} - {len(self.columns)}
        if widths:
            raise ValueError(f"rows of {self.title!r} must have {len(self.columns)} cells, got {sorted(widths)}")

    @property
    def texts(self) -> list[list[str]]:
        """Every cell's text, by row."""
        return [[str(cell) for cell in row] for row in self.rows]

    @property
    def on_page(self) -> Table:
        """The table as the page shows it."""
        titles = enumerate(self.columns)
        return Table(
            label=self.title,
            columns=[Column(title=title, numeric=i >= self.words, pinned=i == 0) for i, title in titles],
            rows=[Row(cells=[c if isinstance(c, Cell) else Cell(c) for c in row]) for row in self.rows],
            sortable=False,
        )


_LATEX = {character: f"\\{character}" for character in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "\u2212": "$-$",
    "\u2013": "--",
    "±": r"$\pm$",
    "\u2264": r"$\leq$",
    "\n": " ",
}


def latex_text(value: str) -> str:
    """`value` as LaTeX text, for pdflatex with UTF-8 input."""
    return "".join(_LATEX.get(character, character) for character in visible(value))


def markdown_text(value: str) -> str:
    """`value` as one Markdown table cell, nothing in it read as markup."""
    return " ".join(re.sub(r"([\\|`*_\[\]<>#])", r"\\\1", visible(value)).split())


def markdown(given: TextTable) -> str:
    """A heading, the table, its notes."""
    bars = ["---" if i < given.words else "---:" for i in range(len(given.columns))]
    lines = [[markdown_text(c) for c in row] for row in (given.columns, *given.texts)]
    lines.insert(1, bars)
    body = "\n".join(f"| {' | '.join(row)} |" for row in lines)
    notes = "".join(f"\n{markdown_text(note)}\n" for note in given.notes)
    return f"### {markdown_text(given.title)}\n\n{body}\n{notes}"


def latex(given: TextTable) -> str:
    """A `table` with the title as its caption and the notes under it."""
    spec = "l" * given.words + "r" * (len(given.columns) - given.words)
    head, *rows = [" & ".join(latex_text(c) for c in row) + r" \\" for row in (given.columns, *given.texts)]
    notes = [rf"\par\footnotesize {latex_text(note)}" for note in given.notes]
    lines = [
        r"\begin{table}",
        r"\centering\small",
        rf"\caption{{{latex_text(given.title)}}}",
        r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
        rf"\begin{{tabular}}{{{spec}}}",
        *(r"\toprule", head, r"\midrule", *rows, r"\bottomrule"),
        r"\end{tabular}}",
        *notes,
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def terminal(given: TextTable, width: int) -> list[Text]:
    """The title, the table and its notes for a terminal of so many columns.

    No cell is ever folded or cut, so that a trial's id can be copied: where a row is too long, its first cell stands on
    a line of its own, and the others on the next.
    """
    rows = [[visible(cell) for cell in row] for row in (given.columns, *given.texts)]
    widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    apart = sum(widths) + 2 * (len(widths) - 1) > width

    def line(cells: Sequence[str], first: int) -> str:
        padded = []
        for place, cell in enumerate(cells, start=first):
            space = " " * (widths[place] - cell_len(cell))
            padded.append(cell + space if place < given.words else space + cell)
        return "  ".join(padded).rstrip()

    lines = [Text(visible(given.title), style="bold")]
    for row in rows:
        style = "dim" if row is rows[0] else ""
        parts = (row[0], "    " + line(row[1:], 1)) if apart else (line(row, 0),)
        lines += [Text(part, style=style) for part in parts if part.strip()]
    return [*lines, *(Text(visible(note), style="dim") for note in given.notes)]
