"""The timeline, the hypervolume over time, and the map of density and travel."""

from dataclasses import replace

import pytest

from omsweep.report.charts import Sheet
from omsweep.report.draw_matplotlib import image
from omsweep.report.draw_plotly import figure
from omsweep.report.trials.charts import course_charts, travel_charts
from omsweep.results.course import Course, Span, Step
from omsweep.results.running import Savings
from omsweep.results.view import read_view

HOUR = 3600.0


def span(trial_id, start, end, state, attempt=1):
    return Span(trial_id=trial_id, attempt=attempt, start=HOUR * start, end=end and HOUR * end, state=state)


@pytest.fixture
def view(folder, make_trial, make_space):
    folder.create(make_space())
    for i, density in enumerate((0.3, 0.6, 0.9)):
        diagnostics = {"travel": 0.1 * (i + 1)}
        folder.append(
            make_trial(f"t{i}", label="ondare", params={"density": density}, diagnostics=diagnostics, reward=i)
        )
    return read_view(folder)


def test_attempts_at_one_time_lie_in_rows_of_their_own_and_a_free_row_is_used_again(view):
    spans = [
        span("t0", 0, 2, "lost"),
        span("t1", 1, 4, "completed"),
        span("t0", 2, 3, "completed", attempt=2),
        span("t2", 3.5, None, None),
        span("unknown", 0, 5, "completed"),
    ]
    (chart,) = course_charts(replace(view, course=Course(spans=spans)))
    bars = {(one.trial, one.begin, one.end, one.row, group.name) for group in chart.spans for one in group.spans}
    assert bars == {
        (0, 0.0, 2.0, 1, "lost"),
        (1, 1.0, 4.0, 2, "completed"),
        (0, 2.0, 3.0, 1, "completed"),
        (2, 3.5, 5.0, 1, "no end known"),
    }
    assert "4 attempts, at most 2 at a time" in chart.caption
    traces = {trace.name: trace for trace in figure(chart).data}
    assert (traces["lost"].base, traces["lost"].x, traces["lost"].customdata) == ((0.0,), (2.0,), (0,))
    assert image(Sheet(title="", charts=[chart], columns=1, legend=[], notes=[])).startswith(b"\x89PNG")


def test_an_attempt_without_an_end_lasts_until_the_next_one_at_its_trial(view):
    spans = [span("t0", 0, None, None), span("t0", 1, 3, "completed", attempt=2)]
    (chart,) = course_charts(replace(view, course=Course(spans=spans)))
    assert {(one.begin, one.end) for group in chart.spans for one in group.spans} == {(0.0, 1.0), (1.0, 3.0)}


def test_the_hypervolume_grows_in_steps_and_says_what_stopping_saved(view):
    steps = [
        Step(family="tiny-llama", hours=1.0, trials=1, hypervolume=2.0),
        Step(family="tiny-llama", hours=3.0, trials=2, hypervolume=5.0),
    ]
    savings = Savings(trials=2, steps=40, steps_planned=100, seconds=5400.0)
    view = replace(view, course=Course(steps=steps), progress=replace(view.progress, savings=savings))
    (chart,) = course_charts(view)
    assert list(chart.lines[0].corners) == [(0, 0), (1, 0), (1, 2), (3, 2), (3, 5), (3, 5)]
    assert chart.caption == "Stopping 2 trials saved 40 of 100 steps (40 %), about 90 min of training."


def test_density_and_travel_are_mapped_where_both_vary(view):
    reward, tax = travel_charts(view)
    (points,) = reward.points
    assert [(p.x, p.y, p.trial) for p in points.points] == [(0.3, 0.1, 0), (0.6, 0.2, 1), (0.9, pytest.approx(0.3), 2)]
    assert len({p.face for p in points.points}) == 3
    assert len({p.face for p in tax.points[0].points}) == 1, "all have one tax"
    assert travel_charts(replace(view, trials=view.trials[:1])) == []
