"""Draws a chart for the page: plotly's figure, as HTML that needs `plotly_library` on the page."""

from collections.abc import Sequence
from html import escape
from typing import Any

import plotly.graph_objects as go
import plotly.io
import plotly.offline
from markupsafe import Markup

from omsweep.redaction import visible
from omsweep.report.charts import Area, Axis, Chart, HoverLine, Line, Points, Stroke, legend_of
from omsweep.report.styles import EDGE, GRID, INK, MUTED, PAPER

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
_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"


def plotly_library() -> Markup:
    """The source of plotly.js, once per page."""
    return Markup(plotly.offline.get_plotlyjs())


def plotted(chart: Chart, element_id: str) -> Markup:
    """The chart as an HTML fragment."""
    drawn = figure(chart)
    html = plotly.io.to_html(
        drawn,
        config=CONFIG,
        include_plotlyjs=False,
        include_mathjax=False,
        full_html=False,
        div_id=element_id,
        default_width="100%",
        default_height=f"{drawn.layout.height}px",
    )
    return Markup(html)


def figure(chart: Chart) -> go.Figure:
    """The chart as plotly's figure; the tags of a group of points are its trace's `meta`."""
    drawn = go.Figure(
        [*map(_area, chart.areas), *(_line(line, chart) for line in chart.lines), *map(_points, chart.points)]
    )
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
        hoverlabel={
            "bgcolor": PAPER,
            "bordercolor": EDGE,
            "font": {"color": INK, "family": _FONT},
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
    """A line; only one with a name has tooltips, which leave out a place on an axis of names."""
    x, y = zip(*line.corners, strict=True) if line.corners else ((), ())
    look = {"x": x, "y": y, "mode": "lines", "line": {**_stroke(line.stroke), "simplify": False}}
    if not line.name:
        return go.Scatter(**look, hoverinfo="skip", showlegend=False)
    said = [f"%{{{end}axis.title.text}}: <b>%{{{end}:.2f}}</b>" for end in (["y"] if chart.x.ticks else ["x", "y"])]
    template = "<br>".join([f"<b>{_plain(line.name)}</b>", *said]) + "<extra></extra>"
    return go.Scatter(**look, hovertemplate=template, name=_plain(line.name))


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
            "symbol": [f"{group.symbol.plotly}-dot" if point.dotted else group.symbol.plotly for point in points],
            "opacity": 1,
            "size": [PIXELS_PER_POINT * point.size for point in points],
            "color": [point.face for point in points],
            "line": {
                "color": [point.edge for point in points],
                "width": [PIXELS_PER_POINT * point.edge_width for point in points],
            },
        },
        hovertext=[_hover(point.hover) for point in points],
        hovertemplate="%{hovertext}<extra></extra>",
        name=_plain(group.name),
        showlegend=bool(group.name),
        meta=dict(group.tags),
    )


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
