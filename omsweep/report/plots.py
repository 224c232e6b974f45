"""front.png: one panel per family, drawn by matplotlib without a display or global state."""

import io
import textwrap
from collections.abc import Mapping
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from omsweep.report import captions
from omsweep.report.styles import CAUTION, FRONT_FILL, FRONT_LINE, GRID, INK, MUTED, Marker, colours_of, markers_of
from omsweep.results.geometry import Mark, dominated_area, marks, staircase, window
from omsweep.results.view import SweepView

PANEL_INCHES = (5.6, 4.6)
DOTS_PER_INCH = 150
LEGEND: Mapping[str, Any] = {
    "frameon": False,
    "fontsize": 9,
    "handletextpad": 0.2,
    "columnspacing": 1.4,
    "labelcolor": INK,
}
LINES, CHARACTERS_PER_INCH = 2, 17


def front_image(view: SweepView) -> bytes:
    """The fronts of all families as a PNG: tax to the right, reward upwards, better is up and to the left."""
    families = [family for family in view.families if view.scored(family)]
    colours, markers = colours_of(view.labels), markers_of(view.algorithms)
    figure, panels, height = _canvas(max(len(families), 1), _legend_handles(view))
    for axes, family in zip(panels, families, strict=False):
        _panel(axes, view, family, colours, markers)
    for axes in panels[len(families) :]:
        axes.set_axis_off()
    if not families:
        panels[0].text(0.5, 0.5, "No trial has both objectives yet.", ha="center", color=MUTED)
    _titles(figure, view, height)
    content = io.BytesIO()
    figure.savefig(content, format="png", metadata={"Software": "omsweep"})
    return content.getvalue()


def _canvas(panels: int, legend: list[Line2D]) -> tuple[Figure, list[Axes], float]:
    """A figure with room for `panels` and the legend under them; also returns its height in inches."""
    columns = min(panels, 3)
    rows = -(-panels // columns)
    width = max(PANEL_INCHES[0] * columns, 7.2)
    legend_columns = _fitting_columns(legend, width)
    foot = 1.25 + 0.25 * -(-len(legend) // legend_columns)
    height = PANEL_INCHES[1] * rows + foot
    figure = Figure(figsize=(width, height), dpi=DOTS_PER_INCH, facecolor="white")
    FigureCanvasAgg(figure)
    grid = figure.subplots(rows, columns, squeeze=False)
    edges = {"left": 0.75 / width, "right": 1 - 0.2 / width, "top": 1 - 0.95 / height, "bottom": foot / height}
    figure.subplots_adjust(**edges, wspace=0.2, hspace=0.34)
    figure.legend(
        handles=legend, loc="lower left", bbox_to_anchor=(0.006, 0.53 / height), ncols=legend_columns, **LEGEND
    )
    return figure, list(grid.flat), height


def _fitting_columns(legend: list[Line2D], width: float) -> int:
    """The most columns in which the legend is no wider than a figure of `width` inches."""
    probe = Figure(figsize=(width, 1), dpi=DOTS_PER_INCH)
    for columns in range(min(len(legend), int(width / 1.15)), 1, -1):
        drawn = probe.legend(handles=legend, ncols=columns, **LEGEND)
        if drawn.get_window_extent().width <= 0.98 * probe.bbox.width:
            return columns
        drawn.remove()
    return 1


def _panel(axes: Axes, view: SweepView, family: str, colours: Mapping[str, str], markers: Mapping[str, Marker]) -> None:
    shown = marks(view, family)
    seen = window(shown, view.objectives)
    members = [(mark.tax, mark.reward) for mark in shown if mark.on_front]
    _style(axes, view)
    area = dominated_area(members, view.objectives)
    if area:
        axes.fill(*zip(*area, strict=True), facecolor=FRONT_FILL, edgecolor="none", zorder=0)
    axes.plot(*zip(*staircase(members), strict=True), color=FRONT_LINE, linewidth=1.3, zorder=2)
    axes.axhline(view.objectives.reference_reward, color=MUTED, linewidth=0.8, linestyle=(0, (4, 3)), zorder=1)
    axes.axvline(view.objectives.reference_tax, color=MUTED, linewidth=0.8, linestyle=(0, (4, 3)), zorder=1)
    axes.plot(0, 0, marker="*", markersize=13, color=INK, linestyle="none", zorder=4)
    axes.annotate("SFT", (0, 0), xytext=(7, -11), textcoords="offset points", fontsize=8.5, color=INK)
    for mark in shown:
        _draw(axes, mark, colours[mark.label], markers[mark.algorithm].matplotlib)
    axes.set_xlim(*seen.tax)
    axes.set_ylim(*seen.reward)
    fitting = int(CHARACTERS_PER_INCH * axes.bbox.width / DOTS_PER_INCH)
    line = captions.family_line(view, family)
    line = textwrap.fill(line, fitting, max_lines=LINES, placeholder=" ...", break_on_hyphens=False)
    axes.text(0, 1.015, line, transform=axes.transAxes, fontsize=8.2, color=MUTED)
    axes.set_title(family, loc="left", pad=18 + 10 * line.count("\n"), fontsize=11.5, fontweight="bold", color=INK)
    note = captions.outside(seen)
    axes.text(0.99, 0.015, note, transform=axes.transAxes, fontsize=8.2, color=CAUTION, ha="right", zorder=5)


def _draw(axes: Axes, mark: Mark, colour: str, symbol: str) -> None:
    """Filled on the front, hollow off it; what was merged after training is smaller with a dot inside."""
    axes.errorbar(
        mark.tax,
        mark.reward,
        xerr=mark.tax_error or None,
        yerr=mark.reward_error or None,
        fmt="none",
        ecolor=colour,
        elinewidth=0.8,
        alpha=0.4,
        zorder=2.5,
    )
    axes.plot(
        mark.tax,
        mark.reward,
        marker=symbol,
        markersize=(8 if mark.on_front else 6.5) - 1.5 * mark.merged,
        markerfacecolor=colour if mark.on_front else "white",
        markeredgecolor=INK if mark.on_front else colour,
        markeredgewidth=0.9 if mark.on_front else 1.2,
        linestyle="none",
        zorder=3.5 if mark.on_front else 3,
    )
    if mark.merged:
        axes.plot(mark.tax, mark.reward, marker=".", markersize=3, color=INK, linestyle="none", zorder=3.6)


def _style(axes: Axes, view: SweepView) -> None:
    tax, reward = view.objectives.tax, view.objectives.reward
    quiet_axes(axes, x=f"{tax.title} ({tax.unit}), less is better", y=f"{reward.title} ({reward.unit})")


def quiet_axes(axes: Axes, *, x: str, y: str) -> None:
    """The look of every plot: a pale grid, no ticks, labels in ink."""
    axes.set_axisbelow(True)
    axes.grid(color=GRID, linewidth=0.8)
    axes.set_xlabel(x, fontsize=9.5, color=INK)
    axes.set_ylabel(y, fontsize=9.5, color=INK)
    axes.tick_params(labelsize=8.5, colors=MUTED, length=0)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color("#b9c0cc")


def _titles(figure: Figure, view: SweepView, height: float) -> None:
    figure.text(0.012, 1 - 0.33 / height, f"Sweep {view.name}", fontsize=14, fontweight="bold", color=INK)
    colour = CAUTION if view.summary["exploratory"] else MUTED
    figure.text(0.988, 1 - 0.33 / height, captions.ranking(view), ha="right", fontsize=10, color=colour)
    lines = (
        captions.error_bars(view),
        f"Line: the front on the search split. Shaded: its hypervolume (reference point {captions.reference(view)}).",
    )
    figure.text(0.012, 0.14 / height, "\n".join(lines), fontsize=8.2, color=MUTED, linespacing=1.5)


def _legend_handles(view: SweepView) -> list[Line2D]:
    def handle(name: str, marker: str, colour: str, edge: str | None = None, size: float = 7.5) -> Line2D:
        return Line2D(
            [], [], linestyle="none", marker=marker, color=colour, markeredgecolor=edge, markersize=size, label=name
        )

    trained = view.trained_labels
    merged = [handle("merged after training", "$\\odot$", MUTED)] if len(trained) < len(view.labels) else []
    return [
        *(handle(name, "o", colour) for name, colour in colours_of(trained).items()),
        *(handle(name, marker.matplotlib, MUTED) for name, marker in markers_of(view.algorithms).items()),
        *merged,
        handle("on the front", "o", "#9aa3b0", INK),
        handle("SFT model", "*", INK, size=11),
    ]
