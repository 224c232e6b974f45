"""The comparison's files and section: strict JSON, escapes, one page that shows it, what `omsweep report` prints."""

import json
import shutil
from dataclasses import replace

import pytest

from omsweep.cli import main
from omsweep.report.attainment_chart import attainment_chart, shown_arms
from omsweep.report.comparison_tables import comparison_latex, comparison_markdown, tables
from omsweep.report.draw_plotly import figure
from omsweep.report.page import page
from omsweep.report.write import write_report
from omsweep.results.comparison.findings import Findings
from omsweep.results.comparison.reading import read_findings
from omsweep.results.view import read_view
from omsweep.sinks.mlflow import SWEEP_FILES
from omsweep.store.folder import SweepFolder

WRITTEN = ("comparison.json", "comparison.md", "comparison.tex", "attainment.png")


@pytest.fixture(scope="module")
def sweep(tmp_path_factory, fill_question):
    folder = SweepFolder(tmp_path_factory.mktemp("runs"), "demo")
    fill_question(folder, families=("tiny-llama",), gain=1.6)
    write_report(folder)
    return folder


@pytest.fixture(scope="module")
def found(sweep):
    return read_findings(sweep, sweep.sweep()["resolved"], sweep.trials())


def test_every_file_is_written_and_tracked(sweep):
    assert all((sweep.path / name).stat().st_size for name in WRITTEN)
    assert (sweep.path / "attainment.png").read_bytes().startswith(b"\x89PNG")
    assert set(WRITTEN) <= set(SWEEP_FILES)


def test_the_json_is_strict_and_holds_the_lines(sweep, found):
    def refuse(constant):
        raise AssertionError(constant)

    content = json.loads((sweep.path / "comparison.json").read_text(), parse_constant=refuse)
    assert (content["sweep"], content["tax_limit"], content["not_shown"]) == ("demo", 4.0, [])
    assert len(content["headline"]) == len(found.headline) == 7
    for row, line in zip(content["headline"], found.headline, strict=True):
        assert (row["arm"], row["verdict"]) == (line.arm, line.verdict)
        assert row["difference"] == pytest.approx(line.estimate.value)
        assert (row["low"], row["high"]) == pytest.approx(line.estimate.interval(0.9))
    assert len(content["arms"]) == 5
    assert all(row["components"]["training_seed"] >= 0 for row in content["variance"])


def test_markdown_has_every_table_with_the_numbers(sweep, found):
    text = (sweep.path / "comparison.md").read_text()
    assert [line for line in text.splitlines() if line.startswith("### ")] == [f"### {t.title}" for t in tables(found)]
    (line,) = [c for c in found.headline if (c.arm, c.measure) == ("ondare + offline", "reward_at_tax")]
    (row,) = [row for row in text.splitlines() if row.startswith("| (d) ondare + offline \u2212 (b)")][:1]
    assert f"+{line.estimate.value:.3f} " in row
    assert row.count("| 4 / 4 |") == 1


def test_latex_is_whole_and_escapes(sweep, found):
    text = (sweep.path / "comparison.tex").read_text()
    assert text.count(r"\begin{table}") == text.count(r"\end{table}") == 5
    assert r"reward at tax $\leq$ 4" in text
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


def test_the_figure_has_a_line_for_each_arm_of_the_headline(found):
    chart = attainment_chart(found, "tiny-llama")
    traces = figure(chart).data
    assert [trace.name for trace in traces] == [
        *("(a) adamw", "(c) ondare", "(b) adamw + offline", "(d) ondare + offline"),
    ]
    assert len(shown_arms(found)) == 4
    for trace in traces:
        assert list(trace.x) == sorted(trace.x)
        assert list(trace.y) == sorted(trace.y)


def test_storage_may_be_a_file_uri(sweep, capsys):
    assert main(["status", sweep.name, "--storage", f"file://{sweep.storage}"]) == 0
    assert f"Report: {sweep.path}" in capsys.readouterr().out.replace("\n", "")


def test_report_prints_the_tables(sweep, capsys):
    assert main(["report", sweep.name, "--storage", str(sweep.storage)]) == 0
    assert capsys.readouterr().out.endswith("\n" + (sweep.path / "comparison.md").read_text())


def test_a_sweep_recorded_under_the_former_word_of_match_is_reported_alike(sweep, tmp_path, capsys):
    old = shutil.copytree(sweep.path, tmp_path / sweep.name)
    recorded = (old / "sweep.json").read_text()
    (old / "sweep.json").write_text(recorded.replace('"match": "share"', '"match": "displacement"'))
    assert '"match": "displacement"' in (old / "sweep.json").read_text()
    for verb in ("status", "report"):
        assert main([verb, sweep.name, "--storage", str(tmp_path)]) == 0
    assert capsys.readouterr().out.endswith("\n" + (sweep.path / "comparison.md").read_text())
