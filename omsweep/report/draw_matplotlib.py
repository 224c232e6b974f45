"""Draws charts as one image: a PNG by matplotlib, without a display or global state."""

import io
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from omsweep.report.charts import BAR, Chart, LegendEntry, Point, Points, Sheet, Stroke
from omsweep.report.styles import CAUTION, EDGE, GRID, INK, MUTED

DOTS_PER_INCH = 150
NARROWEST = 7.2
LEFT, RIGHT, TITLE, CAPTION_LINE, BESIDE, BELOW = 0.75, 0.2, 0.75, 0.17, 0.93, 1.0
"""Inches left and right of the charts, above them for the title and a line of their captions, and between them."""
AXIS, SLANTED, LEGEND_ROW, NOTE, EDGE_INCHES = 0.72, 0.2, 0.25, 0.17, 0.14
"""Inches under the charts: for their axis, slanted ticks, a legend row, a line of the notes, and under the last."""
CHARACTERS_PER_INCH = 17
CAPTION_LINES = 2
TICKS_SIDE_BY_SIDE = 5
"""As many named ticks are written upright; more of them would run into each other and are slanted."""
DASHES: Mapping[str, Any] = {"solid": "-", "dash": (0, (4, 3)), "dot": (0, (1.5, 1.2))}
LEGEND: Mapping[str, Any] = {"frameon": False, "fontsize": 9, "columnspacing": 1.4, "labelcolor": INK}


def image(sheet: Sheet) -> bytes:
    """A PNG of the sheet's charts, row by row, with the legend and the notes under them."""
    figure, panels = _canvas(sheet)
    for number, (axes, chart) in enumerate(zip(panels, sheet.charts, strict=False)):
        _draw(axes, chart)
        if sheet.same_rows and number % sheet.columns:
            axes.tick_params(labelleft=False)
    for axes in panels[len(sheet.charts) :]:
        axes.set_axis_off()
    if not sheet.charts:
        panels[0].text(0.5, 0.5, sheet.empty, ha="center", color=MUTED)
    content = io.BytesIO()
    figure.savefig(content, format="png", metadata={"Software": "omsweep"})
    return content.getvalue()


def _canvas(sheet: Sheet) -> tuple[Figure, list[Axes]]:
    """A figure with empty axes for every chart, and everything around them."""
    columns = max(1, min(sheet.columns, len(sheet.charts)))
    rows = max(1, -(-len(sheet.charts) // columns))
    wide, high = (max([getattr(c, side) for c in sheet.charts], default=3.65) for side in ("width", "height"))
    left, beside = _left(sheet), 0.3 if sheet.same_rows else BESIDE
    width = max(left + columns * wide + (columns - 1) * beside + RIGHT, NARROWEST)
    wide = (width - left - RIGHT - (columns - 1) * beside) / columns
    captions = CAPTION_LINE * max([len(_caption(chart, wide)) for chart in sheet.charts], default=0)
    notes = [(line, note.colour) for note in sheet.notes for line in _wrapped(note.text, width)]
    legend = _legend(sheet, width)
    legend_rows = -(-len(sheet.legend) // legend["ncols"])
    slanted = SLANTED * any(len(chart.x.ticks) > TICKS_SIDE_BY_SIDE for chart in sheet.charts)
    above_notes = EDGE_INCHES + NOTE * len(notes)
    foot = above_notes + LEGEND_ROW * legend_rows + AXIS + slanted
    head, below = TITLE + captions, BELOW + captions + slanted
    height = head + rows * high + (rows - 1) * below + foot
    figure = Figure(figsize=(width, height), dpi=DOTS_PER_INCH, facecolor="white")
    FigureCanvasAgg(figure)
    grid = figure.subplots(rows, columns, squeeze=False)
    edges = {"left": left / width, "right": 1 - RIGHT / width, "top": 1 - head / height, "bottom": foot / height}
    figure.subplots_adjust(**edges, wspace=beside / wide, hspace=below / high)
    figure.legend(loc="lower left", bbox_to_anchor=(0.05 / width, (above_notes + 0.02) / height), **legend)
    top, side = 1 - 0.33 / height, 0.13 / width
    figure.text(side, top, sheet.title, fontsize=14, fontweight="bold", color=INK)
    if sheet.remark:
        figure.text(1 - side, top, sheet.remark.text, ha="right", fontsize=10, color=sheet.remark.colour)
    for number, (line, colour) in enumerate(notes, start=1):
        figure.text(side, (above_notes - NOTE * number) / height, line, fontsize=8.2, color=colour)
    return figure, list(grid.flat)


def _left(sheet: Sheet) -> float:
    """Inches left of the charts: what the longest name on a vertical axis needs."""
    names = [name for chart in sheet.charts for name in chart.y.ticks]
    return max([LEFT, *(0.35 + len(name) / 14 for name in names)])


def _legend(sheet: Sheet, width: float) -> dict[str, Any]:
    """The legend in the most columns in which it is no wider than a figure of `width` inches."""
    handles = [_handle(entry) for entry in sheet.legend]
    long = any(entry.stroke for entry in sheet.legend)
    look = {**LEGEND, "handles": handles, "handlelength": 2 if long else 0.8}
    probe = Figure(figsize=(width, 1), dpi=DOTS_PER_INCH)
    for columns in range(min(len(handles), int(width / 1.15)), 1, -1):
        drawn = probe.legend(ncols=columns, **look)
        if drawn.get_window_extent().width <= 0.98 * probe.bbox.width:
            return {**look, "ncols": columns}
        drawn.remove()
    return {**look, "ncols": 1}


def _handle(entry: LegendEntry) -> Line2D:
    return Line2D(
        [],
        [],
        label=entry.name,
        marker=entry.symbol.matplotlib if entry.symbol else "",
        markerfacecolor=entry.face,
        markeredgecolor=entry.edge or entry.face,
        markersize=entry.size,
        **(_stroke(entry.stroke) if entry.stroke else {"linestyle": "none"}),
    )


def _draw(axes: Axes, chart: Chart) -> None:
    _style(axes, chart)
    for rule in chart.rules:
        add = axes.axvline if rule.vertical else axes.axhline
        add(rule.at, zorder=1, **_stroke(rule.stroke))
    for area in chart.areas:
        axes.fill(*_across(area.corners), facecolor=area.colour, alpha=area.opacity, edgecolor="none", zorder=0)
    for spans in chart.spans:
        places = [(one.row, one.end - one.begin, one.begin) for one in spans.spans]
        rows, lengths, begins = zip(*places, strict=True)
        axes.barh(rows, lengths, left=begins, height=BAR, color=spans.colour)
    for line in chart.lines:
        axes.plot(*_across(line.corners), zorder=2, **_stroke(line.stroke))
    for group in chart.points:
        if group.joined:
            axes.plot(*_across([(p.x, p.y) for p in group.points]), zorder=2.6, **_stroke(group.joined))
        _points(axes, group)
    caption = _caption(chart, axes.bbox.width / DOTS_PER_INCH)
    axes.text(0, 1.015, "\n".join(caption), transform=axes.transAxes, fontsize=8.2, color=MUTED)
    pad = 8 + 10 * len(caption)
    axes.set_title(chart.title, loc="left", pad=pad, fontsize=11.5, fontweight="bold", color=INK)
    axes.text(0.99, 0.015, chart.note, transform=axes.transAxes, fontsize=8.2, color=CAUTION, ha="right", zorder=5)


def _style(axes: Axes, chart: Chart) -> None:
    """The look of every chart: a pale grid, no tick marks, labels in ink."""
    axes.set_axisbelow(True)
    axes.grid(color=GRID, linewidth=0.8)
    axes.set_xlabel(chart.x.title, fontsize=9.5, color=INK)
    axes.set_ylabel(chart.y.title, fontsize=9.5, color=INK)
    axes.tick_params(labelsize=8.5, colors=MUTED, length=0)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(EDGE)
    if chart.x.ticks:
        slanted: dict[str, Any] = {"rotation": 40, "ha": "right", "rotation_mode": "anchor"}
        look = slanted if len(chart.x.ticks) > TICKS_SIDE_BY_SIDE else {}
        axes.set_xticks(list(chart.x.ticks.values()), list(chart.x.ticks), **look)
    if chart.y.ticks:
        axes.set_yticks(list(chart.y.ticks.values()), list(chart.y.ticks))
    axes.set_xlim(*chart.x.window)
    axes.set_ylim(*chart.y.window)


def _points(axes: Axes, group: Points) -> None:
    """Error bars, then symbols, those that look the same at once."""
    bars: dict[str, Any] = {
        "ecolor": group.errors.colour,
        "elinewidth": group.errors.width,
        "alpha": group.errors.opacity,
    }
    for name in ("x_error", "y_error"):
        if some := [point for point in group.points if getattr(point, name)]:
            x, y = _across([(point.x, point.y) for point in some])
            halves = [getattr(point, name) for point in some]
            sideways = name == "x_error"
            axes.errorbar(
                x,
                y,
                xerr=halves if sideways else None,
                yerr=None if sideways else halves,
                fmt="none",
                zorder=2.5,
                **bars,
            )
    looks: dict[Any, list[Point]] = {}
    for point in group.points:
        looks.setdefault((point.face, point.edge, point.edge_width, point.size, point.raised, point.dotted), []).append(
            point
        )
    for (face, edge, edge_width, size, raised, dotted), some in looks.items():
        places = _across([(point.x, point.y) for point in some])
        look = {"markerfacecolor": face, "markeredgecolor": edge, "markeredgewidth": edge_width, "markersize": size}
        zorder = 3.5 if raised else 3
        axes.plot(*places, marker=group.symbol.matplotlib, linestyle="none", zorder=zorder, **look)
        if dotted:
            axes.plot(*places, marker=".", markersize=3, color=INK, linestyle="none", zorder=3.6)
    for point in group.points:
        if point.text:
            place: dict[str, Any] = {"xytext": (7, -11), "textcoords": "offset points"}
            axes.annotate(point.text, (point.x, point.y), fontsize=8.5, color=INK, **place)


def _stroke(stroke: Stroke) -> dict[str, Any]:
    look = {"color": stroke.colour, "linewidth": stroke.width, "alpha": stroke.opacity}
    return {**look, "linestyle": DASHES[stroke.dash]}


def _across(corners: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
    return [x for x, _ in corners], [y for _, y in corners]


def _wrapped(text: str, inches: float, **cut: Any) -> list[str]:
    return textwrap.wrap(text, int(CHARACTERS_PER_INCH * inches), break_on_hyphens=False, **cut)


def _caption(chart: Chart, inches: float) -> list[str]:
    """The caption in lines that fit, cut where they do not suffice."""
    return _wrapped(chart.caption, inches, max_lines=CAPTION_LINES, placeholder=" ...")
