"""study.png: reward and tax over the levels of a study's axis, a line per recipe, or recipe under recipe."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from omsweep.report.plots import DOTS_PER_INCH, quiet_axes
from omsweep.report.study_table import EXPLORATORY, half_width, interval_note, level_text
from omsweep.report.styles import CAUTION, INK, MARKERS, MUTED, colours_of
from omsweep.results.numbers import is_number
from omsweep.results.study import StudyResult, StudyRow
from omsweep.results.view import SweepView

PANEL_INCHES = (5.6, 3.5)
NUMBERS = {"reward": "Reward gain (scorer units)", "tax": "Alignment tax (points)"}
RECIPE_INCHES = 0.26
SPREAD = {True: 0.012, False: 0.05}
"""Recipes stand apart by this share of the axis, so that bars can be told apart; by whether levels are numbers."""
LEVELS_SIDE_BY_SIDE = 5
"""As many levels are written upright; more of them would run into each other and are slanted."""


@dataclass(frozen=True, kw_only=True)
class Scale:
    """Where ticks stand on the horizontal axis, by what is written there; only `numbers` are joined by lines."""

    places: Mapping[str, float]
    numbers: bool
    log: bool = False

    def moved(self, place: float, share: float) -> float:
        """A place moved by a share of the axis's length."""
        low, high = min(self.places.values()), max(self.places.values())
        return float(place * (high / low) ** share) if self.log else place + share * (high - low)


def study_image(view: SweepView, result: StudyResult) -> bytes:
    """A PNG: one line of panels per family, reward on the left and tax on the right."""
    families = result.families or ["nothing yet"]
    by_recipe = result.study.axis == "label"
    panel = max(1.6, RECIPE_INCHES * len(result.recipes) + 0.9) if by_recipe else PANEL_INCHES[1]
    width, height = 2 * PANEL_INCHES[0], panel * len(families) + 1.95
    figure = Figure(figsize=(width, height), dpi=DOTS_PER_INCH, facecolor="white")
    FigureCanvasAgg(figure)
    grid = figure.subplots(len(families), 2, squeeze=False)
    edges = {"left": 0.3 if by_recipe else 0.07, "right": 0.985, "top": 1 - 0.75 / height, "bottom": 1.5 / height}
    figure.subplots_adjust(**edges, wspace=0.06 if by_recipe else 0.18, hspace=0.55 if by_recipe else 0.42)
    draw = _recipe_panel if by_recipe else _level_panel
    for family, panels in zip(families, grid, strict=True):
        for axes, name in zip(panels, NUMBERS, strict=True):
            draw(axes, result, family, name)
            axes.set_title(family, loc="left", fontsize=11, fontweight="bold", color=INK)
    _words(figure, view, result, height)
    content = io.BytesIO()
    figure.savefig(content, format="png", metadata={"Software": "omsweep"})
    return content.getvalue()


def _recipe_panel(axes: Axes, result: StudyResult, family: str, name: str) -> None:
    """Recipes under each other, each with its interval."""
    quiet_axes(axes, x=f"{NUMBERS[name]}, {result.split} split", y="")
    axes.axvline(0, color=MUTED, linewidth=0.8, linestyle=(0, (4, 3)), zorder=1)
    colours, named = colours_of(result.recipes), name == next(iter(NUMBERS))
    for place, recipe in enumerate(result.recipes):
        for row in result.rows:
            if (row.family, row.recipe) == (family, recipe) and name in row.values:
                mean, half = row.values[name].value, half_width(row.values[name]) or 0.0
                axes.errorbar(mean, place, xerr=half, color=colours[recipe], marker="o", markersize=5.5, zorder=3)
    axes.set_yticks(range(len(result.recipes)), result.recipes if named else [""] * len(result.recipes), fontsize=8)
    axes.set_ylim(len(result.recipes) - 0.5, -0.5)


def _level_panel(axes: Axes, result: StudyResult, family: str, name: str) -> None:
    """A line per recipe over the levels."""
    rows = [row for row in result.rows if row.family == family and name in row.values]
    scale, colours = _scale(result), colours_of(result.recipes)
    quiet_axes(axes, x=str(result.study.axis), y=f"{NUMBERS[name]}, {result.split} split")
    axes.axhline(0, color=MUTED, linewidth=0.8, linestyle=(0, (4, 3)), zorder=1)
    for number, recipe in enumerate(result.recipes):
        mine = [row for row in rows if row.recipe == recipe]
        standing = [row for row in mine if _tick(row) in scale.places]
        shift = (number - (len(result.recipes) - 1) / 2) * SPREAD[scale.numbers]
        places = [scale.moved(scale.places[_tick(row)], shift) for row in standing]
        line = "-" if scale.numbers else "none"
        _line(axes, standing, name, places, colours[recipe], f"{MARKERS[number % len(MARKERS)].matplotlib} {line}")
        for row in mine:
            if row not in standing:
                _level_line(axes, row, name, colours[recipe])
    if scale.log:
        axes.set_xscale("log")
    axes.xaxis.set_minor_locator(NullLocator())
    slanted: dict[str, Any] = {"rotation": 40, "ha": "right", "rotation_mode": "anchor"}
    look = slanted if len(scale.places) > LEVELS_SIDE_BY_SIDE else {}
    axes.set_xticks(list(scale.places.values()), list(scale.places), fontsize=8, **look)


def _tick(row: StudyRow) -> str:
    """What is written where a row stands."""
    return level_text(row.level)


def _scale(result: StudyResult) -> Scale:
    """Numbers at their own place, words side by side; the same in every panel."""
    rows = [row for row in result.rows if row.level is not None]
    numbers = {_tick(row): float(row.level) for row in rows if is_number(row.level)}
    ticks = list(dict.fromkeys(_tick(row) for row in rows))
    if numbers and len(numbers) == len(ticks):
        places = dict(sorted(numbers.items(), key=lambda item: item[1]))
        return Scale(places=places, numbers=True, log=result.study.log and min(places.values()) > 0)
    return Scale(places={tick: float(place) for place, tick in enumerate(ticks)}, numbers=False)


def _line(axes: Axes, rows: Sequence[StudyRow], name: str, places: Sequence[float], colour: str, look: str) -> None:
    """A recipe's means with their intervals; `look` is marker and line style."""
    if not rows:
        return
    marker, line = look.split()
    axes.errorbar(
        places,
        [row.values[name].value for row in rows],
        yerr=[half_width(row.values[name]) or 0.0 for row in rows],
        color=colour,
        marker=marker,
        markersize=5.5,
        linestyle=line,
        linewidth=1.4,
        elinewidth=1.0,
        label=rows[0].recipe,
        zorder=3,
    )


def _level_line(axes: Axes, row: StudyRow, name: str, colour: str) -> None:
    """A recipe without the axis: its mean as a line across, its interval as a band."""
    mean, half = row.values[name].value, half_width(row.values[name])
    axes.axhline(mean, color=colour, linewidth=1.4, linestyle=(0, (6, 2)), label=row.recipe, zorder=2)
    if half is not None:
        axes.axhspan(mean - half, mean + half, color=colour, alpha=0.12, linewidth=0, zorder=1)


def _words(figure: Figure, view: SweepView, result: StudyResult, height: float) -> None:
    title = f"{result.study.title}, sweep {view.name}"
    figure.text(0.012, 1 - 0.33 / height, title, fontsize=13, fontweight="bold", color=INK)
    handles = {
        label: handle for axes in figure.axes for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    if handles:
        figure.legend(
            handles.values(),
            handles.keys(),
            loc="lower left",
            bbox_to_anchor=(0.006, 0.36 / height),
            ncols=min(len(handles), 6),
            frameon=False,
            fontsize=9,
            labelcolor=INK,
        )
    figure.text(0.012, 0.23 / height, interval_note(result), fontsize=8, color=MUTED)
    figure.text(0.012, 0.08 / height, EXPLORATORY, fontsize=8, color=CAUTION)
