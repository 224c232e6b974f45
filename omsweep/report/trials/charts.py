"""Charts of when trials ran and what it brought, and of where density and travel led."""

from collections.abc import Mapping, Sequence

from omsweep.report import captions
from omsweep.report.charts import Axis, Chart, Line, Point, Points, Span, Spans, Stroke
from omsweep.report.styles import CIRCLE, INK, MUTED, PALETTE, shade
from omsweep.results.course import Course
from omsweep.results.course import Span as Attempt
from omsweep.results.geometry import padded
from omsweep.results.numbers import counted, is_number, short
from omsweep.results.view import SweepView

ENDS: Mapping[str, str] = {
    "completed": "#3f8f68",
    "stopped": "#d39a2c",
    "diverged": "#c4463f",
    "failed": "#8f2020",
    "paused": "#8fb3d6",
    "lost": "#7d7f86",
    "no end known": "#b6bac3",
}
"""Colour of an attempt by how it ended."""
SECONDS = 3600.0
SHORT_HOURS = 2.0
"""A sweep of fewer hours is shown in minutes."""


def course_charts(view: SweepView) -> list[Chart]:
    """The hypervolume over the hours, and which attempt ran when; none of what is not known."""
    course = view.course
    if course is None:
        return []
    return [*([_volumes(view, course)] if course.steps else []), *([_timeline(view, course)] if course.spans else [])]


def _unit(hours: float) -> tuple[str, float]:
    return ("minutes", 60.0) if hours < SHORT_HOURS else ("hours", 1.0)


def _volumes(view: SweepView, course: Course) -> Chart:
    """A stepped line per family, from nothing on."""
    end, saved = max(step.hours for step in course.steps), captions.saved(view.progress)
    unit, scale = _unit(end)
    lines = []
    for i, family in enumerate(view.families):
        corners = [(0.0, 0.0)]
        for step in course.steps:
            if step.family == family:
                corners += [(scale * step.hours, corners[-1][1]), (scale * step.hours, step.hypervolume)]
        corners.append((scale * end, corners[-1][1]))
        lines.append(Line(corners=corners, stroke=Stroke(PALETTE[i % len(PALETTE)], 1.5), name=family))
    return Chart(
        title="Hypervolume over time",
        caption="What the front covers up to the reference point."
        if saved is None
        else f"{saved[0].upper()}{saved[1:]}.",
        description="How the hypervolume of each family's front grew.",
        x=Axis(title=f"{unit} in which a driver was at work", window=padded([0.0, scale * end])),
        y=Axis(title="hypervolume", window=padded([0.0, *(y for line in lines for _, y in line.corners)])),
        lines=lines,
        height=2.9,
    )


def _timeline(view: SweepView, course: Course) -> Chart:
    """A bar per attempt at a trial that has ended; those that ran at one time lie in rows of their own."""
    places = {trial.trial_id: i for i, trial in enumerate(view.trials)}
    shown = sorted((one for one in course.spans if one.trial_id in places), key=lambda one: one.start)
    begin, end = min(one.start for one in course.spans), max(one.end or one.start for one in course.spans)
    unit, scale = _unit((end - begin) / SECONDS)
    ends = _ends(shown, end)
    rows, count = _rows([one.start for one in shown], ends)
    spans: dict[str, list[Span]] = {how: [] for how in ENDS}
    for one, stop, row in zip(shown, ends, rows, strict=True):
        at = [scale * (time - begin) / SECONDS for time in (one.start, stop)]
        span = Span(begin=at[0], end=at[1], row=row, trial=places[one.trial_id])
        spans[one.state if one.state and one.state in ENDS else "no end known"].append(span)
    return Chart(
        title="Timeline",
        caption=f"{counted(len(shown), 'attempt')}, at most {count} at a time; a bar is an attempt at a trial.",
        description="When each attempt at a trial ran, and how it ended.",
        x=Axis(
            title=f"{unit} by the clock, since the first began", window=padded([0.0, scale * (end - begin) / SECONDS])
        ),
        y=Axis(title="", window=(count + 0.6, 0.4), ticks={str(i): float(i) for i in _ticks(count)}),
        spans=[Spans(spans=some, colour=ENDS[how], name=how) for how, some in spans.items() if some],
        height=min(3.6, max(1.2, 0.24 * count)),
    )


def _ticks(count: int) -> list[int]:
    return sorted({1, count, *range(5, count, max(5, 5 * (count // 25)))})


def _ends(attempts: Sequence[Attempt], last: float) -> list[float]:
    """When each ended: one of which that is not known, when the next at its trial began, at the latest at the last."""
    begun: dict[str, float] = {}
    ends = []
    for one in reversed(attempts):
        ends.append(one.end if one.end is not None else max(one.start, begun.get(one.trial_id, last)))
        begun[one.trial_id] = one.start
    return ends[::-1]


def _rows(begins: Sequence[float], ends: Sequence[float]) -> tuple[list[int], int]:
    """For every attempt, in the order in which they began, the first row that is free; and how many rows there are."""
    free: list[float] = []
    rows = []
    for begin, end in zip(begins, ends, strict=True):
        row = next((i for i, until in enumerate(free) if until <= begin), len(free))
        free[row : row + 1] = [end]
        rows.append(row + 1)
    return rows, len(free)


def travel_charts(view: SweepView) -> list[Chart]:
    """Per family, reward and tax over density and travel; of families in which both vary."""
    found = []
    for family in view.families:
        places = [
            (i, density, travel)
            for i, trial in enumerate(view.trials)
            if trial.family == family
            and is_number(density := trial.params.get("density"))
            and is_number(travel := trial.diagnostics.get("travel", trial.diagnostics.get("tau_travel")))
        ]
        if len({x for _, x, _ in places}) > 1 and len({y for _, _, y in places}) > 1:
            found += [_travel_chart(view, family, places, name) for name in ("reward", "tax")]
    return found


def _travel_chart(view: SweepView, family: str, places: Sequence[tuple[int, float, float]], name: str) -> Chart:
    values = {
        i: value for i, *_ in places if is_number(value := getattr(view.trials[i], getattr(view.objectives, name).name))
    }
    low, high = min(values.values(), default=0.0), max(values.values(), default=0.0)
    points = [
        Point(
            x=density,
            y=travel,
            face=shade((values[i] - low) / (high - low or 1.0)),
            edge=INK if view.trials[i].trial_id in view.member_ids else MUTED,
            edge_width=1.5 if view.trials[i].trial_id in view.member_ids else 0.4,
            size=8.0,
            trial=i,
        )
        for i, density, travel in places
        if i in values
    ]
    title = getattr(view.objectives, name).title
    return Chart(
        title=f"{family}: {name}",
        caption=f"{title}: pale {short(low)}, dark {short(high)}; a dark rim is on the front.",
        description=f"{title} of {family} by density and travel.",
        x=Axis(title="density: share of an update that is kept", window=padded([x for _, x, _ in places])),
        y=Axis(title="travel along the task vector", window=padded([y for *_, y in places])),
        points=[Points(points=points, symbol=CIRCLE, errors=Stroke(MUTED, 0.8))] if points else [],
        height=2.9,
    )
