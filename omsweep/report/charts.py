"""What a chart shows, as plain data: `draw_plotly` draws it for the page, `draw_matplotlib` as an image.

Widths and sizes are in points (1/72 inch). Errors are half-widths in the unit of their axis, 0 where none is known.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from omsweep.report.styles import MUTED, Marker

Corner = tuple[float, float]
GAP: Corner = (math.nan, math.nan)
BAR = 0.8
"""Height of a bar, of the distance between two rows."""


@dataclass(frozen=True)
class Stroke:
    """How a line is drawn."""

    colour: str
    width: float
    dash: Literal["solid", "dash", "dot"] = "solid"
    opacity: float = 1.0


@dataclass(frozen=True)
class HoverLine:
    """One line of a tooltip: plain text, bold text, plain text."""

    before: str = ""
    strong: str = ""
    after: str = ""


@dataclass(frozen=True, kw_only=True)
class Axis:
    """An axis over `window`, whose first end is left or below.

    `ticks` are the places where something is written, by what; without any, round numbers are.
    """

    title: str
    window: tuple[float, float]
    ticks: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Area:
    """A shaded area without an outline."""

    corners: Sequence[Corner]
    colour: str
    opacity: float


@dataclass(frozen=True, kw_only=True)
class Rule:
    """A line across the whole plot, under everything else."""

    at: float
    vertical: bool
    stroke: Stroke


@dataclass(frozen=True, kw_only=True)
class Line:
    """A line through corners, interrupted where one is `GAP`; one with a `name` stands in the legend."""

    corners: Sequence[Corner]
    stroke: Stroke
    name: str = ""


@dataclass(frozen=True, kw_only=True)
class Point:
    """One symbol with its error bars; `dotted` puts a dot into it, `raised` draws it above those that are not.

    That of a trial has its place among the sweep's trials as `trial`: the page then makes its tooltip, opens its
    details and filters it.
    """

    x: float
    y: float
    x_error: float = 0.0
    y_error: float = 0.0
    face: str
    edge: str
    edge_width: float = 0.9
    size: float = 5.5
    dotted: bool = False
    raised: bool = False
    text: str = ""
    hover: Sequence[HoverLine] = ()
    trial: int | None = None


@dataclass(frozen=True, kw_only=True)
class Points:
    """Points with one symbol, in the order in which `joined` connects them.

    A group with a `name` stands in the chart's own legend.
    """

    points: Sequence[Point]
    symbol: Marker
    errors: Stroke
    joined: Stroke | None = None
    name: str = ""


@dataclass(frozen=True, kw_only=True)
class Span:
    """A bar from `begin` to `end` in a row; of a trial as a `Point`."""

    begin: float
    end: float
    row: float
    trial: int


@dataclass(frozen=True, kw_only=True)
class Spans:
    """Bars of one colour, with a `name` in the legend."""

    spans: Sequence[Span]
    colour: str
    name: str


@dataclass(frozen=True, kw_only=True)
class Chart:
    """One plot, its layers from back to front.

    Args:
        title: above it.
        caption: under the title.
        note: in its lower right corner, in a cautious colour.
        description: a sentence for readers who do not see it.
        x: the horizontal axis.
        y: the vertical axis.
        height: of the axes, inches.
        width: of the axes in an image, inches.
    """

    title: str
    caption: str = ""
    note: str = ""
    description: str
    x: Axis
    y: Axis
    rules: Sequence[Rule] = ()
    areas: Sequence[Area] = ()
    lines: Sequence[Line] = ()
    points: Sequence[Points] = ()
    spans: Sequence[Spans] = ()
    height: float = 3.65
    width: float = 4.65


@dataclass(frozen=True)
class LegendEntry:
    """A name with its symbol, its line, or both."""

    name: str
    symbol: Marker | None = None
    face: str = MUTED
    edge: str | None = None
    size: float = 7.5
    stroke: Stroke | None = None


@dataclass(frozen=True)
class Note:
    """A sentence at the foot of an image."""

    text: str
    colour: str = MUTED


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """An image of several charts with one legend.

    Args:
        title: above all charts.
        remark: at the right of the title.
        charts: row by row.
        columns: charts in a row, at most.
        legend: under the charts.
        notes: under the legend.
        same_rows: whether the charts of a row share the ticks of their vertical axis.
        empty: what is written in place of the first chart where there is none.
    """

    title: str
    remark: Note | None = None
    charts: Sequence[Chart]
    columns: int
    legend: Sequence[LegendEntry]
    notes: Sequence[Note]
    same_rows: bool = False
    empty: str = "Nothing to show yet."


def legend_of(charts: Sequence[Chart]) -> list[LegendEntry]:
    """An entry for every line and group of points that has a name, each name once."""
    lines = [LegendEntry(line.name, stroke=line.stroke) for chart in charts for line in chart.lines]
    groups = [group for chart in charts for group in chart.points]
    points = [LegendEntry(g.name, g.symbol, g.points[0].face, size=5.5, stroke=g.joined) for g in groups]
    spans = [LegendEntry(one.name, stroke=Stroke(one.colour, 5.0)) for chart in charts for one in chart.spans]
    return list({entry.name: entry for entry in (*lines, *points, *spans) if entry.name}.values())
