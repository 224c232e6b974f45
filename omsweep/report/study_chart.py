"""A study as charts: reward and tax over the levels of its axis, a line per recipe, or recipe under recipe."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from omsweep.report.charts import (
    Area,
    Axis,
    Chart,
    HoverLine,
    Line,
    Note,
    Point,
    Points,
    Rule,
    Sheet,
    Stroke,
    whole_legend,
)
from omsweep.report.study_table import EXPLORATORY, half_width, interval_note, level_text, mean_cell
from omsweep.report.styles import CAUTION, CIRCLE, MARKERS, MUTED, colours_of
from omsweep.results.geometry import padded
from omsweep.results.numbers import is_number
from omsweep.results.study import StudyResult, StudyRow
from omsweep.results.view import SweepView

NUMBERS = {"reward": "Reward gain (scorer units)", "tax": "Alignment tax (points)"}
RECIPE_INCHES = 0.26
SPREAD = {True: 0.012, False: 0.05}
"""Recipes stand apart by this share of the axis, so that bars can be told apart; by whether levels are numbers."""
MARGIN = 0.06
"""Free space at both ends of the levels, as a share of their axis."""
ZERO = Stroke(colour=MUTED, width=0.8, dash="dash")


@dataclass(frozen=True, kw_only=True)
class Scale:
    """Where ticks stand on the horizontal axis, by what is written there; only `numbers` are joined by lines."""

    places: Mapping[str, float]
    numbers: bool
    log: bool = False

    def moved(self, place: float, share: float) -> float:
        """A place moved by a share of the axis's length."""
        low, high = min(self.places.values()), max(self.places.values())
        if low == high:
            return place
        return float(place * (high / low) ** share) if self.log else place + share * (high - low)

    @property
    def window(self) -> tuple[float, float]:
        """From somewhat before the first tick to somewhat after the last."""
        if len(set(self.places.values())) < 2:
            only = next(iter(self.places.values()), 0.5)
            return (only / 2, only * 2) if self.log else (only - 0.5, only + 0.5)
        share = MARGIN if self.numbers else 0.5 / (len(self.places) - 1)
        low, high = min(self.places.values()), max(self.places.values())
        return self.moved(low, -share), self.moved(high, share)


def study_sheet(view: SweepView, result: StudyResult) -> Sheet:
    """`study.png`."""
    charts = study_charts(result)
    return Sheet(
        title=f"{result.study.title}, sweep {view.name}",
        charts=charts,
        columns=len(NUMBERS),
        legend=whole_legend(charts),
        notes=[Note(text=interval_note(result)), Note(text=EXPLORATORY, colour=CAUTION)],
        same_rows=result.study.axis == "label",
        empty="No trial has ended yet.",
    )


def study_charts(result: StudyResult) -> list[Chart]:
    """Two charts per family: reward, then tax."""
    build = _recipe_chart if result.study.axis == "label" else partial(_level_chart, _scale(result))
    return [build(result, family, name) for family in result.families for name in NUMBERS]


def _recipe_chart(result: StudyResult, family: str, name: str) -> Chart:
    """Recipes under each other, each with its interval."""
    colours, count = colours_of(result.recipes), len(result.recipes)
    groups = []
    for place, recipe in enumerate(result.recipes):
        for row in _rows(result, family, recipe, name):
            point = _point(
                row, name, colours[recipe], x=row.values[name].value, y=float(place), x_error=_half(row, name)
            )
            groups.append(Points(points=[point], symbol=CIRCLE, errors=Stroke(colour=colours[recipe], width=1.4)))
    return Chart(
        title=family,
        description=_description(result, family, name),
        x=Axis(title=f"{NUMBERS[name]}, {result.split} split", window=_window(result, family, name)),
        y=Axis(title="", window=(count - 0.5, -0.5), ticks={recipe: i for i, recipe in enumerate(result.recipes)}),
        rules=[Rule(at=0.0, vertical=True, stroke=ZERO)],
        points=groups,
        height=max(0.9, RECIPE_INCHES * count),
        width=3.6,
    )


def _level_chart(scale: Scale, result: StudyResult, family: str, name: str) -> Chart:
    """A line per recipe over the levels; a recipe without the axis is a line across, its interval a band."""
    colours, last = colours_of(result.recipes), len(result.recipes) - 1
    low, high = scale.window
    areas, lines, groups = [], [], []
    for number, recipe in enumerate(result.recipes):
        colour, mine = colours[recipe], _rows(result, family, recipe, name)
        for row in (row for row in mine if row.level is None):
            mean, half = row.values[name].value, _half(row, name)
            stroke = Stroke(colour=colour, width=1.4, dash="dash")
            lines.append(Line(corners=[(low, mean), (high, mean)], stroke=stroke, name=recipe))
            if half:
                band = [(low, mean - half), (high, mean - half), (high, mean + half), (low, mean + half)]
                areas.append(Area(corners=band, colour=colour, opacity=0.12))
        shift = (number - last / 2) * SPREAD[scale.numbers]
        points = [
            _point(
                row,
                name,
                colour,
                x=scale.moved(scale.places[level_text(row.level)], shift),
                y=row.values[name].value,
                y_error=_half(row, name),
            )
            for row in mine
            if row.level is not None
        ]
        if points:
            groups.append(
                Points(
                    points=points,
                    symbol=MARKERS[number % len(MARKERS)],
                    errors=Stroke(colour=colour, width=1.0),
                    joined=Stroke(colour=colour, width=1.4) if scale.numbers else None,
                    name=recipe,
                )
            )
    return Chart(
        title=family,
        description=_description(result, family, name),
        x=Axis(title=str(result.study.axis), window=scale.window, log=scale.log, ticks=scale.places),
        y=Axis(title=f"{NUMBERS[name]}, {result.split} split", window=_window(result, family, name)),
        rules=[Rule(at=0.0, vertical=False, stroke=ZERO)],
        areas=areas,
        lines=lines,
        points=groups,
        height=3.0,
    )


def _scale(result: StudyResult) -> Scale:
    """Numbers at their own place, words side by side; the same in every chart."""
    rows = [row for row in result.rows if row.level is not None]
    numbers = {level_text(row.level): float(row.level) for row in rows if is_number(row.level)}
    ticks = list(dict.fromkeys(level_text(row.level) for row in rows))
    if numbers and len(numbers) == len(ticks):
        places = dict(sorted(numbers.items(), key=lambda item: item[1]))
        return Scale(places=places, numbers=True, log=result.study.log and min(places.values()) > 0)
    return Scale(places={tick: float(place) for place, tick in enumerate(ticks)}, numbers=False)


def _rows(result: StudyResult, family: str, recipe: str, name: str) -> list[StudyRow]:
    return [row for row in result.rows if (row.family, row.recipe) == (family, recipe) and name in row.values]


def _half(row: StudyRow, name: str) -> float:
    return half_width(row.values[name]) or 0.0


def _window(result: StudyResult, family: str, name: str) -> tuple[float, float]:
    """From 0 to every mean with its interval."""
    rows = [row for row in result.rows if row.family == family and name in row.values]
    ends = [row.values[name].value + side * _half(row, name) for row in rows for side in (-1, 1)]
    return padded([0.0, *ends])


def _point(
    row: StudyRow, name: str, colour: str, *, x: float, y: float, x_error: float = 0.0, y_error: float = 0.0
) -> Point:
    level = "" if row.level is None else f", {level_text(row.level)}"
    hover = [
        HoverLine(strong=f"{row.recipe}{level}"),
        HoverLine(f"{name} ", str(mean_cell(row.values[name], signed=True))),
    ]
    return Point(x=x, y=y, x_error=x_error, y_error=y_error, face=colour, edge=colour, hover=hover)


def _description(result: StudyResult, family: str, name: str) -> str:
    return f"{result.study.title}: {name} of {family}; every number stands in the table below."
