"""Draws a chart for the page: plotly's figure, as data; the page's script draws it with `plotly_library`."""

from collections.abc import Sequence
from html import escape
from typing import Any

import plotly.graph_objects as go
import plotly.offline
from markupsafe import Markup

from omsweep.redaction import visible
from omsweep.report.charts import BAR, Area, Axis, Chart, HoverLine, Line, Points, Spans, Stroke, legend_of
from omsweep.report.styles import EDGE, GRID, INK, MUTED, PAPER
from omsweep.report.trials.data import compact

CONFIG = {
    "displaylogo": False,
    "responsive": True,
    "showSendToCloud": False,  # plotly's share button would upload the figure
    "plotlyServerURL": "",
    "modeBarButtonsToRemove": ["select2d", "lasso2d", "autoScale2d"],
}
PIXELS_PER_POINT = 1.5
PIXELS_PER_INCH = 108
LEGEND_PIXELS = 44
MARGIN = {"l": 58, "r": 14, "t": 28, "b": 52}
CLEAR = "rgba(0,0,0,0)"
TOOLTIP = "%{hovertext}<extra></extra>"
"""What points and bars say: a text of theirs, of those of a trial made by the page's script."""
_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"


def plotly_library() -> Markup:
    """The source of plotly.js, once per page."""
    return Markup(plotly.offline.get_plotlyjs())


def plotted(chart: Chart) -> dict[str, Any]:
    """The chart as the data that `Plotly.newPlot` takes."""
    drawn: dict[str, Any] = compact(figure(chart).to_plotly_json())
    return {**drawn, "config": CONFIG}


def figure(chart: Chart) -> go.Figure:
    """The chart as plotly's figure; `customdata` of a trace are the trials of its points."""
    lines = [_line(line, chart) for line in chart.lines]
    drawn = go.Figure([*map(_area, chart.areas), *map(_spans, chart.spans), *lines, *map(_points, chart.points)])
    for rule in chart.rules:
        add = drawn.add_vline if rule.vertical else drawn.add_hline
        add(rule.at, line=_stroke(rule.stroke), layer="below")
    named = bool(legend_of([chart]))
    margin = {**MARGIN, "b": MARGIN["b"] + LEGEND_PIXELS * named}
    drawn.update_layout(
        template="none",
        height=round(PIXELS_PER_INCH * chart.height) + margin["t"] + margin["b"],
        margin=margin,
        paper_bgcolor=CLEAR,
        plot_bgcolor=CLEAR,
        modebar={"bgcolor": CLEAR, "color": "#aab3c0", "activecolor": INK},
        font={"family": _FONT, "size": 12.5, "color": INK},
        showlegend=named,
        legend={"orientation": "h", "y": -54 / (PIXELS_PER_INCH * chart.height), "yanchor": "top"},
        hovermode="closest",
        barmode="overlay",
        hoverlabel={
            "bgcolor": PAPER,
            "bordercolor": EDGE,
            "font": {"color": INK, "family": _FONT, "size": 13},
            "align": "left",
            "namelength": -1,
        },
        xaxis=_axis(chart.x),
        yaxis=_axis(chart.y),
    )
    return drawn


def _area(area: Area) -> go.Scatter:
    x, y = zip(*area.corners, strict=True)
    look = {"fillcolor": _see_through(area.colour, area.opacity), "line": {"width": 0}, "showlegend": False}
    return go.Scatter(x=x, y=y, mode="lines", fill="toself", hoverinfo="skip", **look)


def _line(line: Line, chart: Chart) -> go.Scatter:
    """A line; only one with a name has tooltips, which leave out a place on an axis of names.

    None has where points are trials: it would catch the click on a point that lies on it.
    """
    x, y = zip(*line.corners, strict=True) if line.corners else ((), ())
    look: dict[str, Any] = {"x": x, "y": y, "mode": "lines", "line": {**_stroke(line.stroke), "simplify": False}}
    if not line.name:
        return go.Scatter(**look, hoverinfo="skip", showlegend=False)
    if any(point.trial is not None for group in chart.points for point in group.points):
        return go.Scatter(**look, hoverinfo="skip", name=_plain(line.name))
    said = [f"%{{{end}axis.title.text}}: <b>%{{{end}:.2f}}</b>" for end in (["y"] if chart.x.ticks else ["x", "y"])]
    template = "<br>".join([f"<b>{_plain(line.name)}</b>", *said]) + "<extra></extra>"
    return go.Scatter(**look, hovertemplate=template, name=_plain(line.name))


def _spans(group: Spans) -> go.Bar:
    spans = group.spans
    return go.Bar(
        base=[one.begin for one in spans],
        x=[one.end - one.begin for one in spans],
        y=[one.row for one in spans],
        orientation="h",
        width=BAR,
        marker={"color": group.colour, "line": {"width": 0}},
        customdata=[one.trial for one in spans],
        hovertemplate=TOOLTIP,
        name=_plain(group.name),
        showlegend=True,
    )


def _points(group: Points) -> go.Scatter:
    points = group.points
    written = any(point.text for point in points)
    return go.Scatter(
        x=[point.x for point in points],
        y=[point.y for point in points],
        error_x=_errors([point.x_error for point in points], group.errors),
        error_y=_errors([point.y_error for point in points], group.errors),
        mode="+".join(["markers", *(["lines"] if group.joined else []), *(["text"] if written else [])]),
        line=_stroke(group.joined) if group.joined else None,
        text=[point.text for point in points] if written else None,
        textposition="bottom right",
        marker={
            "symbol": _once(
                [f"{group.symbol.plotly}-dot" if point.dotted else group.symbol.plotly for point in points]
            ),
            "opacity": 1,
            "size": _once([PIXELS_PER_POINT * point.size for point in points]),
            "color": _once([point.face for point in points]),
            "line": {
                "color": _once([point.edge for point in points]),
                "width": _once([PIXELS_PER_POINT * point.edge_width for point in points]),
            },
        },
        customdata=None if points[0].trial is None else [point.trial for point in points],
        hovertext=[_hover(point.hover) for point in points] if points[0].hover else None,
        hovertemplate=TOOLTIP,
        name=_plain(group.name),
        showlegend=bool(group.name),
    )


def _once(values: Sequence[Any]) -> Any:
    """One value where all are the same."""
    return values[0] if len(set(values)) == 1 else list(values)


def _errors(half_widths: Sequence[float], stroke: Stroke) -> dict[str, Any]:
    return {
        "type": "data",
        "array": list(half_widths),
        "visible": any(half_widths),
        "thickness": PIXELS_PER_POINT * stroke.width,
        "width": 0,
        "color": _see_through(stroke.colour, stroke.opacity),
    }


def _hover(lines: Sequence[HoverLine]) -> str:
    """A tooltip's lines, by plotly's own small markup."""
    shown = []
    for line in lines:
        strong = f"<b>{_plain(line.strong)}</b>" if line.strong else ""
        shown.append(f"{_plain(line.before)}{strong}{_plain(line.after)}")
    return "<br>".join(shown)


def _axis(axis: Axis) -> dict[str, Any]:
    """A pale grid, no tick marks."""
    ticks = {"tickvals": list(axis.ticks.values()), "ticktext": [_plain(name) for name in axis.ticks]}
    return {
        "title": {"text": _plain(axis.title), "standoff": 8},
        "range": list(axis.window),
        **(ticks if axis.ticks else {}),
        "automargin": bool(axis.ticks),
        "gridcolor": GRID,
        "zeroline": False,
        "linecolor": EDGE,
        "showline": True,
        "ticks": "",
        "tickfont": {"color": MUTED},
    }


def _stroke(stroke: Stroke) -> dict[str, Any]:
    colour = _see_through(stroke.colour, stroke.opacity)
    return {"color": colour, "width": PIXELS_PER_POINT * stroke.width, "dash": stroke.dash}


def _see_through(colour: str, opacity: float) -> str:
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return colour if opacity == 1 else f"rgba({red},{green},{blue},{opacity})"


def _plain(text: str) -> str:
    """Text in which plotly finds no markup of its own; it knows no entity for quotes."""
    return escape(visible(text, lines=True), quote=False)
