"""One table of texts in four formats."""

import pytest

from omsweep.report.cells import Cell
from omsweep.report.text_table import TextTable, latex, latex_text, markdown, terminal

TABLE = TextTable(
    title="A & B",
    columns=["name", "tax, %"],
    rows=[["a_b", Cell("\u22121.5", error="0.2")], ["c|d", "\u2013"]],
    notes=["100 % of $x"],
)


def test_markdown():
    assert markdown(TABLE) == (
        "### A & B\n\n"
        "| name | tax, % |\n"
        "| --- | ---: |\n"
        "| a\\_b | \u22121.5 ± 0.2 |\n"
        "| c\\|d | \u2013 |\n"
        "\n100 % of $x\n"
    )


@pytest.mark.parametrize(
    ("width", "lines"),
    [
        (80, ["A & B", "name      tax, %", "a_b   \u22121.5 ± 0.2", "c|d            \u2013"]),
        (10, ["A & B", "name", "        tax, %", "a_b", "    \u22121.5 ± 0.2", "c|d", "             \u2013"]),
    ],
)
def test_a_terminal_folds_no_cell(width, lines):
    assert [str(line) for line in terminal(TABLE, width)] == [*lines, "100 % of $x"]


def test_latex():
    assert latex(TABLE).splitlines() == [
        r"\begin{table}",
        r"\centering\small",
        r"\caption{A \& B}",
        r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
        r"\begin{tabular}{lr}",
        r"\toprule",
        r"name & tax, \% \\",
        r"\midrule",
        r"a\_b & $-$1.5 $\pm$ 0.2 \\",
        r"c|d & -- \\",
        r"\bottomrule",
        r"\end{tabular}}",
        r"\par\footnotesize 100 \% of \$x",
        r"\end{table}",
    ]


@pytest.mark.parametrize(
    ("given", "escaped"),
    [
        ("\\", r"\textbackslash{}"),
        ("a~b^c", r"a\textasciitilde{}b\textasciicircum{}c"),
        ("{#}", r"\{\#\}"),
        ("x < y\nz", r"x \textless{} y z"),
    ],
)
def test_latex_escapes(given, escaped):
    assert latex_text(given) == escaped


def test_the_page_has_every_cell_and_marks_words():
    shown = TABLE.on_page
    assert [column.title for column in shown.columns] == TABLE.columns
    assert [(column.numeric, column.pinned) for column in shown.columns] == [(False, True), (True, False)]
    assert [[str(cell) for cell in row.cells] for row in shown.rows] == TABLE.texts
    assert not shown.sortable


def test_rows_must_fit_the_columns():
    with pytest.raises(ValueError, match="must have 2 cells"):
        TextTable(title="t", columns=["a", "b"], rows=[["1"]])
