"""A table of texts as Markdown, LaTeX (with booktabs and graphicx) or HTML. Whatever a text holds is escaped."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from omsweep.report.markup import Column, cell, plus_minus, table, text


@dataclass(frozen=True, kw_only=True)
class TextTable:
    """Texts in rows; the first `words` columns are words, the others numbers. `notes` are sentences under it."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    words: int = 1
    notes: Sequence[str] = ()

    def __post_init__(self) -> None:
        widths = {len(row) for row in self.rows} - {len(self.columns)}
        if widths:
            raise ValueError(f"rows of {self.title!r} must have {len(self.columns)} cells, got {sorted(widths)}")


_LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
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
    return "".join(_LATEX.get(character, character) for character in value)


def markdown_text(value: str) -> str:
    """`value` as one Markdown table cell, nothing in it read as markup."""
    shown = "".join(f"\\{character}" if character in "\\|`*_[]<>#" else character for character in value)
    return " ".join(shown.split())


def markdown(given: TextTable) -> str:
    """A heading, the table, its notes."""
    bars = ["---" if i < given.words else "---:" for i in range(len(given.columns))]
    lines = [[markdown_text(c) for c in row] for row in (given.columns, *given.rows)]
    lines.insert(1, bars)
    body = "\n".join(f"| {' | '.join(row)} |" for row in lines)
    notes = "".join(f"\n{markdown_text(note)}\n" for note in given.notes)
    return f"### {markdown_text(given.title)}\n\n{body}\n{notes}"


def latex(given: TextTable) -> str:
    """A `table` with the title as its caption and the notes under it."""
    spec = "l" * given.words + "r" * (len(given.columns) - given.words)
    head, *rows = [" & ".join(latex_text(c) for c in row) + r" \\" for row in (given.columns, *given.rows)]
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


def html(given: TextTable, show: Callable[[str], str] = plus_minus) -> str:
    """A heading, the table, its notes; `show` makes escaped HTML of a cell's text."""
    columns = [Column(title=title, numeric=i >= given.words, pinned=i == 0) for i, title in enumerate(given.columns)]
    rows = [
        "<tr>" + "".join(cell(show(c), column) for c, column in zip(row, columns, strict=True)) + "</tr>"
        for row in given.rows
    ]
    notes = "".join(f'<p class="lead">{text(note)}</p>' for note in given.notes)
    return f"<h3>{text(given.title)}</h3>{table(columns, rows, sortable=False, label=given.title)}{notes}"
