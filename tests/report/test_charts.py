"""Both renderers draw what a chart says: the same points, error bars, lines, windows and names."""

from math import isnan

import matplotlib.colors
import pytest
from matplotlib.figure import Figure

from omsweep.report import draw_matplotlib, draw_plotly
from omsweep.report.charts import Axis, Chart, HoverLine, Line, Point, Points, Stroke, legend_of
from omsweep.report.comparison_chart import comparison_charts
from omsweep.report.front_chart import front_charts
from omsweep.report.study_chart import study_charts
from omsweep.report.styles import CIRCLE
from omsweep.results.comparison.reading import read_findings
from omsweep.results.study import asked_study, study_result
from omsweep.results.view import read_view
from tests.written_sweep import WrittenSweep

KINDS = ("fronts", "comparison", "levels", "words", "recipes")


@pytest.fixture(scope="module")
def all_charts(tmp_path_factory, fill_sweep, fill_question, make_trial, make_space):
    def study(name, axis, levels):
        folder = WrittenSweep(tmp_path_factory.mktemp("runs"), "demo")
        folder.create(make_space(report={"study": name}, design={"cross": [axis] if axis else []}))
        for i, (label, level, block) in enumerate(
            (lb, lv, b) for lb in ("adamw", "onties") for lv in levels for b in (0, 1)
        ):
            own = {"algorithm": level} if axis == "algorithm" else {"params": {axis: level} if level else {}}
            at = {"label": label, "method": label, "block": block, "seed": block}
            folder.append(make_trial(f"t{i}", reward=0.1 * i, tax=0.3 * i, **at, **(own if axis else {})))
        view = read_view(folder)
        return study_charts(study_result(view, asked_study(view)))

    question = fill_question(WrittenSweep(tmp_path_factory.mktemp("runs"), "demo"), families=("tiny-llama",))
    demo = fill_sweep(WrittenSweep(tmp_path_factory.mktemp("runs"), "demo"))
    found = read_findings(question, question.sweep()["resolved"], question.trials())
    return {
        "fronts": [*front_charts(read_view(demo)), *front_charts(read_view(question))],
        "comparison": comparison_charts(found),
        "levels": study("beta", "beta", (0.01, 0.1, None)),
        "words": study("algorithms", "algorithm", ("dpo", "ipo")),
        "recipes": study("methods", None, (None,)),
    }


@pytest.fixture(params=KINDS)
def charts(request, all_charts):
    assert all_charts[request.param]
    return all_charts[request.param]


def each(trace, value):
    """By point what a trace says once where all have the same."""
    return [value] * len(trace.x) if isinstance(value, str | int | float) else list(value)


def corners(pairs):
    """Corners of a line; gaps, which equal nothing, as a place far away."""
    return [(-99.0, -99.0) if isnan(x) else (x, y) for x, y in pairs]


def drawn_by_matplotlib(chart):
    axes = Figure().subplots()
    draw_matplotlib._draw(axes, chart)
    return axes


def test_points_are_where_the_chart_says(charts):
    for chart in charts:
        points = [point for group in chart.points for point in group.points]
        said = sorted((point.x, point.y) for point in points)
        axes, figure = drawn_by_matplotlib(chart), draw_plotly.figure(chart)
        symbols = [line for line in axes.lines if line.get_marker() not in (".", "None")]
        assert sorted(pair for line in symbols for pair in zip(*line.get_data(), strict=True)) == said
        traces = [trace for trace in figure.data if "markers" in trace.mode]
        assert sorted(pair for trace in traces for pair in zip(trace.x, trace.y, strict=True)) == said
        faces = sorted(
            matplotlib.colors.to_hex(line.get_markerfacecolor()) for line in symbols for _ in line.get_xdata()
        )
        assert sorted(colour for trace in traces for colour in each(trace, trace.marker.color)) == faces


def test_error_bars_are_as_long_as_the_chart_says(charts):
    for chart in charts:
        points = [point for group in chart.points for point in group.points]
        said = sorted(error for point in points for error in (point.x_error, point.y_error) if error)
        axes, figure = drawn_by_matplotlib(chart), draw_plotly.figure(chart)
        ends = [path.vertices for bars in axes.collections for path in bars.get_paths()]
        assert sorted(abs(end[1] - end[0]).max() / 2 for end in ends) == pytest.approx(said)
        bars = [bar for trace in figure.data if "markers" in trace.mode for bar in (trace.error_x, trace.error_y)]
        assert sorted(half for bar in bars if bar.visible for half in bar.array if half) == pytest.approx(said)


def test_lines_areas_and_windows_are_those_of_the_chart(charts):
    for chart in charts:
        axes, figure = drawn_by_matplotlib(chart), draw_plotly.figure(chart)
        joined = [[(p.x, p.y) for p in group.points] for group in chart.points if group.joined]
        said = sorted([*(corners(line.corners) for line in chart.lines), *joined])
        rules = {(rule.at, rule.vertical) for rule in chart.rules}
        lines = [line for line in axes.lines if line.get_marker() == "None"][len(rules) :]
        assert sorted(corners(zip(*line.get_data(), strict=True)) for line in lines) == said
        traces = [trace for trace in figure.data if "lines" in trace.mode and not trace.fill]
        assert sorted(corners(zip(trace.x, trace.y, strict=True)) for trace in traces) == said
        assert {(s.x0, True) if s.x0 == s.x1 else (s.y0, False) for s in figure.layout.shapes} == rules
        assert len(axes.patches) == sum(trace.fill == "toself" for trace in figure.data) == len(chart.areas)
        assert (axes.get_xlim(), axes.get_ylim()) == (chart.x.window, chart.y.window)
        assert (figure.layout.xaxis.range, figure.layout.yaxis.range) == (chart.x.window, chart.y.window)
        assert figure.layout.xaxis.title.text == axes.get_xlabel() == chart.x.title
        if chart.x.ticks:
            assert [tick.get_text() for tick in axes.get_xticklabels()] == list(chart.x.ticks)
            assert list(figure.layout.xaxis.ticktext) == list(chart.x.ticks)


def test_every_point_is_in_the_window(charts):
    for chart in charts:
        for point in (point for group in chart.points for point in group.points):
            assert min(chart.x.window) <= point.x <= max(chart.x.window)
            assert min(chart.y.window) <= point.y <= max(chart.y.window)


def test_levels_keep_their_order_and_a_recipe_without_the_axis_is_a_line_across(all_charts):
    reward = all_charts["levels"][0]
    assert list(reward.x.ticks) == ["0.01", "0.1"]
    assert [line.name for line in reward.lines] == ["adamw", "onties"]
    assert all([x for x, _ in line.corners] == list(reward.x.window) for line in reward.lines)
    assert [entry.name for entry in legend_of(all_charts["levels"])] == ["adamw", "onties"]
    assert not any(group.joined for group in all_charts["words"][0].points), "words have no order"


def test_tooltips_are_dark_on_light_and_hold_no_markup_of_others():
    hover = [HoverLine("<i>", "<b>&", "x"), HoverLine(strong="y")]
    point = Point(x=0.0, y=0.0, face="#000000", edge="#000000", hover=hover)
    group = Points(points=[point], symbol=CIRCLE, errors=Stroke("#000000", 1.0), name="<s>")
    axis = Axis(title="a<b>", window=(0.0, 1.0), ticks={"<u>": 0.5})
    chart = Chart(
        title="t", description="d", x=axis, y=axis, points=[group], lines=[Line(corners=[], stroke=group.errors)]
    )
    figure = draw_plotly.figure(chart)
    assert tuple(figure.data[1].hovertext) == ("&lt;i&gt;<b>&lt;b&gt;&amp;</b>x<br><b>y</b>",)
    assert figure.data[1].name == "&lt;s&gt;"
    assert (figure.layout.xaxis.title.text, figure.layout.xaxis.ticktext) == ("a&lt;b&gt;", ("&lt;u&gt;",))
    look = figure.layout.hoverlabel
    assert sum(matplotlib.colors.to_rgb(look.bgcolor)) > 2.8
    assert sum(matplotlib.colors.to_rgb(look.font.color)) < 0.6
