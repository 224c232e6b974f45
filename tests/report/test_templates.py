"""The page's own files: they are in the package, cells and tables are shown as their data says, and all is escaped."""

from importlib.resources import files

import pytest
from jinja2 import UndefinedError

from omsweep.report.cells import Cell, Column, Row, Table
from omsweep.report.page import SCRIPTS, templates
from omsweep.report.sections import SECTIONS
from omsweep.results.numbers import MISSING

ATTACK = '<b>"it\'s"&'
ESCAPED = "&lt;b&gt;&#34;it&#39;s&#34;&amp;"


def macro(name, *given):
    return str(getattr(templates().get_template("macros.html").module, name)(*given)).strip()


def test_every_section_has_its_file_in_the_package():
    there = {entry.name for entry in (files("omsweep.report") / "templates").iterdir()}
    own = {"page.html", "compare.html", "page.css", "macros.html", "filters.html", *SCRIPTS}
    assert {f"{name}.html" for name in SECTIONS} | own == there


@pytest.mark.parametrize(
    ("cell", "html"),
    [
        (
            Cell("+0.10", interval="[\u22120.1, +0.3]", badge="not shown"),
            '+0.10 <span class="badge not shown">not shown</span><br><span class="pm">[\u22120.1, +0.3]</span>',
        ),
        (Cell("+0.10", badge="better"), '+0.10 <span class="badge better">better</span>'),
        (Cell("14.2", interval="[13.0, 15.4]"), '14.2<br><span class="pm">[13.0, 15.4]</span>'),
        (Cell("+1.25", error="0.30"), '+1.25 <span class="pm">±&nbsp;0.30</span>'),
        (Cell(badge="failed"), '<span class="badge failed">failed</span>'),
        (Cell("t-1", code=True, starred=True), '<span class="star" title="on the front">★</span> <code>t-1</code>'),
        (Cell("x<y", swatch="#123456"), '<span class="dot" style="background:#123456"></span>x&lt;y'),
        (Cell(MISSING), f'<span class="none">{MISSING}</span>'),
        (Cell(), f'<span class="none">{MISSING}</span>'),
    ],
)
def test_cells(cell, html):
    assert macro("inside", cell) == html


def test_a_cell_as_text():
    assert str(Cell("+0.10", interval="[0, 1]", badge="better")) == "+0.10 [0, 1] better"
    assert str(Cell("+0.10", error="0.02")) == "+0.10 ± 0.02"


def test_a_table():
    columns = [
        Column(title="trial", numeric=False, pinned=True),
        Column(title="tax", descending=True, hint="points", first_of_group=True),
    ]
    rows = [Row(cells=[Cell("t", "t"), Cell("1.0", 1.0, shade="red")], trial=3)]
    shown = macro("table", Table(label="All", columns=columns, rows=rows))
    for part in (
        '<div class="scroll" tabindex="0" role="region" aria-label="All">',
        '<th scope="col" class="text pin" data-kind="text"><button>trial</button></th>',
        '<th scope="col" class="first" data-kind="number" data-first="descending" title="points"><button>tax',
        '<tr data-trial="3">',
        '<th class="text pin" data-sort="t" scope="row">t</th>',
        '<td class="first" data-sort="1.0" style="background:red">1.0</td>',
    ):
        assert part in shown


def test_whatever_is_shown_is_escaped():
    cell = Cell(ATTACK, ATTACK, error=ATTACK, interval=ATTACK, badge=ATTACK)
    table = Table(
        label=ATTACK,
        columns=[Column(title=ATTACK, hint=ATTACK)],
        rows=[Row(cells=[cell])],
    )
    shown = macro("table", table)
    assert ATTACK not in shown
    assert shown.count(ESCAPED) == 9


def test_a_name_that_no_one_gave_is_an_error():
    with pytest.raises(UndefinedError, match="is undefined"):
        templates().get_template("methods.html").render(section={})
