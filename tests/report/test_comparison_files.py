"""The comparison's files and section: strict JSON, escapes, one page that shows it, what `omsweep report` prints."""

import json
from dataclasses import replace

import pytest

from omsweep.cli import main
from omsweep.report.comparison_chart import comparison_chart
from omsweep.report.comparison_tables import comparison_latex, comparison_markdown, tables
from omsweep.report.draw_plotly import figure
from omsweep.report.page import page
from omsweep.report.write import write_report
from omsweep.results.comparison.findings import Findings
from omsweep.results.comparison.reading import read_findings
from omsweep.results.view import read_view
from omsweep.sinks.writes import SWEEP_FILES
from tests.written_sweep import WrittenSweep

WRITTEN = ("comparison.json", "comparison.md", "comparison.tex", "comparison.png")


@pytest.fixture(scope="module")
def sweep(tmp_path_factory, fill_question):
    folder = WrittenSweep(tmp_path_factory.mktemp("runs"), "demo")
    fill_question(folder, families=("tiny-llama",), gain=1.6)
    write_report(folder)
    return folder


@pytest.fixture(scope="module")
def found(sweep):
    return read_findings(sweep, sweep.sweep()["resolved"], sweep.trials())


def test_every_file_is_written_and_tracked(sweep):
    assert all((sweep.path / name).stat().st_size for name in WRITTEN)
    assert (sweep.path / "comparison.png").read_bytes().startswith(b"\x89PNG")
    assert set(WRITTEN) <= set(SWEEP_FILES)


def test_the_json_is_strict_and_holds_the_lines(sweep, found):
    def refuse(constant):
        raise AssertionError(constant)

    content = json.loads((sweep.path / "comparison.json").read_text(), parse_constant=refuse)
    assert (content["sweep"], content["tax_limit"], content["not_shown"]) == ("demo", 4.0, [])
    assert len(content["lines"]) == len(found.lines) == 12
    for row, line in zip(content["lines"], found.lines, strict=True):
        assert (row["arm"], row["verdict"]) == (line.arm, line.verdict)
        assert row["difference"] == pytest.approx(line.estimate.value)
        assert (row["low"], row["high"]) == pytest.approx(line.estimate.interval(0.9))
    assert [(rung["arm"], rung["dose"]) for rung in content["rungs"][:3]] == [("adamw", d) for d in (0.5, 1, 1.5)]
    assert all(row["components"]["training_seed"] >= 0 for row in content["variance"])


def test_markdown_has_every_table_with_the_numbers(sweep, found):
    text = (sweep.path / "comparison.md").read_text()
    assert [line for line in text.splitlines() if line.startswith("### ")] == [f"### {t.title}" for t in tables(found)]
    (line,) = [c for c in found.lines if (c.arm, c.measure) == ("ondare + path", "area")]
    (row,) = [row for row in text.splitlines() if row.startswith("| ondare + path \u2212 adamw")][:1]
    assert f"+{line.estimate.value:.3f} " in row
    assert line.verdict in row


def test_latex_is_whole_and_escapes(sweep, found):
    text = (sweep.path / "comparison.tex").read_text()
    assert text.count(r"\begin{table}") == text.count(r"\end{table}") == 4
    assert "90 \\% intervals" in text
    assert "\u2212" not in text
    named = replace(found, missing=["a_b & 100 %\nof it"])
    head = comparison_latex(named, "x_y").splitlines()[:2]
    assert [line[0] for line in head] == ["%", "%"]
    assert head[1].endswith("a_b & 100 % of it")


def test_what_is_not_shown_is_listed_everywhere(found, sweep):
    empty = Findings(question=found.question, missing=["everything: <b>no</b> scores"])
    assert "- everything: \\<b\\>no\\</b\\> scores" in comparison_markdown(empty, "demo")
    html = page(replace(read_view(sweep), findings=empty))
    section = html.partition('<section id="comparison">')[2].partition("</section>")[0]
    assert "<li>everything: &lt;b&gt;no&lt;/b&gt; scores</li>" in section
    assert "<table" not in section


def test_the_page_has_the_section_once_and_only_where_asked(sweep, demo):
    assert (sweep.path / "report.html").read_text().count('<section id="comparison">') == 1
    write_report(demo)
    assert '<section id="comparison">' not in demo.report_html.read_text()
    assert not (demo.path / "comparison.json").exists()


def test_the_figure_has_a_line_for_each_arm(found):
    chart = comparison_chart(found, "tiny-llama")
    traces = [trace for trace in figure(chart).data if trace.mode == "lines"]
    assert [trace.name for trace in traces] == ["adamw", "ondare", "adamw + path", "ondare + path", "shuffled"]
    for trace in traces:
        assert (trace.x[0], trace.y[0]) == (0, 0)
        assert 3 < trace.x[-1] < 5


def test_storage_may_be_a_file_uri(sweep, capsys):
    assert main(["status", sweep.name, "--storage", f"file://{sweep.storage}"]) == 0
    assert f"Report: {sweep.path}" in capsys.readouterr().out.replace("\n", "")


def test_report_prints_the_tables(sweep, capsys):
    assert main(["report", sweep.name, "--storage", str(sweep.storage)]) == 0
    assert capsys.readouterr().out.endswith("\n" + (sweep.path / "comparison.md").read_text())
