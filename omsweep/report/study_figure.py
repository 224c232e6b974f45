"""study.png: reward and tax over the levels of a study's axis, a line per recipe, drawn as the fronts are."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from omsweep.report.numbers import is_number
from omsweep.report.plots import DOTS_PER_INCH, quiet_axes
from omsweep.report.study import StudyResult, StudyRow
from omsweep.report.study_table import EXPLORATORY, half_width, interval_note, level_text
from omsweep.report.styles import CAUTION, INK, MARKERS, MUTED, colours_of
from omsweep.report.view import SweepView

PANEL_INCHES = (5.6, 3.5)
NUMBERS = {"reward": "Reward gain (scorer units)", "tax": "Alignment tax (points), less is better"}
SPREAD = 0.012
"""Recipes stand apart by this share of the axis, so that their bars can be told from each other."""


@dataclass(frozen=True, kw_only=True)
class Scale:
    """Where ticks stand on the horizontal axis, by what is written there."""

    places: Mapping[str, float]
    log: bool = False

    def moved(self, place: float, share: float) -> float:
        """A place moved by a share of the axis's length."""
        low, high = min(self.places.values()), max(self.places.values())
        return float(place * (high / low) ** share) if self.log else place + share * (high - low)


def study_image(view: SweepView, result: StudyResult) -> bytes:
    """A PNG: one line of panels per family, reward on the left and tax on the right."""
    families = result.families or ["nothing yet"]
    width, height = 2 * PANEL_INCHES[0], PANEL_INCHES[1] * len(families) + 1.6
    figure = Figure(figsize=(width, height), dpi=DOTS_PER_INCH, facecolor="white")
    FigureCanvasAgg(figure)
    grid = figure.subplots(len(families), 2, squeeze=False)
    foot = (1.6 if _by_recipe(result) else 1.15) / height
    figure.subplots_adjust(left=0.07, right=0.985, top=1 - 0.75 / height, bottom=foot, wspace=0.18, hspace=0.42)
    for family, panels in zip(families, grid, strict=True):
        for axes, name in zip(panels, NUMBERS, strict=True):
            _panel(axes, result, family, name)
    _words(figure, view, result, height)
    content = io.BytesIO()
    figure.savefig(content, format="png", metadata={"Software": "omsweep"})
    return content.getvalue()


def _panel(axes: Axes, result: StudyResult, family: str, name: str) -> None:
    rows = [row for row in result.rows if row.family == family and name in row.values]
    scale, colours = _scale(result), colours_of(result.recipes)
    axis = "" if _by_recipe(result) else str(result.study.axis)
    quiet_axes(axes, x=axis, y=f"{NUMBERS[name]}, {result.split} split")
    axes.set_title(family, loc="left", fontsize=11, fontweight="bold", color=INK)
    axes.axhline(0, color=MUTED, linewidth=0.8, linestyle=(0, (4, 3)), zorder=1)
    for number, recipe in enumerate(result.recipes):
        mine = [row for row in rows if row.recipe == recipe]
        standing = [row for row in mine if _tick(result, row) in scale.places]
        shift = 0.0 if _by_recipe(result) else (number - (len(result.recipes) - 1) / 2) * SPREAD
        places = [scale.moved(scale.places[_tick(result, row)], shift) for row in standing]
        _line(axes, standing, name, places, colours[recipe], MARKERS[number % len(MARKERS)].matplotlib)
        for row in mine:
            if row not in standing:
                _level_line(axes, row, name, colours[recipe])
    if scale.log:
        axes.set_xscale("log")
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticks(list(scale.places.values()), list(scale.places), fontsize=8)
    if _by_recipe(result):
        axes.tick_params(axis="x", labelrotation=30)
        for label in axes.get_xticklabels():
            label.set_horizontalalignment("right")


def _by_recipe(result: StudyResult) -> bool:
    return result.study.axis == "label"


def _tick(result: StudyResult, row: StudyRow) -> str:
    """What is written where a row stands."""
    return row.recipe if _by_recipe(result) else level_text(row.level)


def _scale(result: StudyResult) -> Scale:
    """Numbers at their own place, words side by side; the same in every panel."""
    rows = [row for row in result.rows if _by_recipe(result) or row.level is not None]
    numbers = {_tick(result, row): float(row.level) for row in rows if is_number(row.level)}
    if numbers and len(numbers) == len({_tick(result, row) for row in rows}):
        places = dict(sorted(numbers.items(), key=lambda item: item[1]))
        return Scale(places=places, log=result.study.log and min(places.values()) > 0)
    return Scale(places={tick: float(i) for i, tick in enumerate(dict.fromkeys(_tick(result, row) for row in rows))})


def _line(axes: Axes, rows: Sequence[StudyRow], name: str, places: Sequence[float], colour: str, marker: str) -> None:
    if not rows:
        return
    axes.errorbar(
        places,
        [row.values[name].value for row in rows],
        yerr=[half_width(row.values[name]) or 0.0 for row in rows],
        color=colour,
        marker=marker,
        markersize=5.5,
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
    if handles and not _by_recipe(result):
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
