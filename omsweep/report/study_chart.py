"""A study as charts: reward and tax over the levels of its axis, a line per recipe, or recipe under recipe."""

import math
from collections.abc import Mapping
from typing import Any

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
    legend_of,
)
from omsweep.report.study_table import EXPLORATORY, half_width, interval_note, level_text, mean_cell
from omsweep.report.styles import CAUTION, CIRCLE, MARKERS, MUTED, colours_of
from omsweep.results.geometry import padded
from omsweep.results.numbers import is_number
from omsweep.results.study import StudyResult, StudyRow
from omsweep.results.view import SweepView

NUMBERS = {"reward": "Reward gain (scorer units)", "tax": "Alignment tax (points)"}
RECIPE_INCHES = 0.26
SPREAD_OF_NUMBERS, SPREAD_OF_WORDS = 0.012, 0.035
"""Recipes stand apart by this share of the axis, so that bars can be told apart; by what the levels are."""
ZERO = Stroke(MUTED, 0.8, "dash")


def study_sheet(view: SweepView, result: StudyResult) -> Sheet:
    """`study.png`."""
    drawn = study_charts(result)
    return Sheet(
        title=f"{result.study.title}, sweep {view.name}",
        charts=drawn,
        columns=len(NUMBERS),
        legend=legend_of(drawn),
        notes=[Note(interval_note(result)), Note(EXPLORATORY, CAUTION)],
        same_rows=result.study.axis == "label",
        empty="No trial has ended yet.",
    )


def study_charts(result: StudyResult) -> list[Chart]:
    """Two charts per family: reward, then tax."""
    draw = _recipe_chart if result.study.axis == "label" else _level_chart
    return [draw(result, family, name) for family in result.families for name in NUMBERS]


def _recipe_chart(result: StudyResult, family: str, name: str) -> Chart:
    """Recipes under each other, each with its interval."""
    colours, places = colours_of(result.recipes), {recipe: float(i) for i, recipe in enumerate(result.recipes)}
    groups = []
    for row in _rows(result, family, name):
        colour, mean = colours[row.recipe], row.values[name].value
        point = _point(row, name, colour, x=mean, y=places[row.recipe], x_error=_half(row, name))
        groups.append(Points(points=[point], symbol=CIRCLE, errors=Stroke(colour, 1.4)))
    return Chart(
        title=family,
        description=_description(result, family, name),
        x=Axis(title=f"{NUMBERS[name]}, {result.split} split", window=_window(result, family, name)),
        y=Axis(title="", window=(len(places) - 0.5, -0.5), ticks=places),
        rules=[Rule(at=0.0, vertical=True, stroke=ZERO)],
        points=groups,
        height=max(0.9, RECIPE_INCHES * len(places)),
        width=3.6,
    )


def _level_chart(result: StudyResult, family: str, name: str) -> Chart:
    """A line per recipe over the levels; a recipe without the axis is a line across, its interval a band."""
    places, numbers = _places(result)
    low, high = padded([*places.values()] or [0.0]) if numbers else (-0.5, len(places) - 0.5)
    apart = (SPREAD_OF_NUMBERS if numbers else SPREAD_OF_WORDS) * (high - low)
    areas, lines, groups = [], [], []
    for number, (recipe, colour) in enumerate(colours_of(result.recipes).items()):
        shift = apart * (number - (len(result.recipes) - 1) / 2)
        points = []
        for row in (row for row in _rows(result, family, name) if row.recipe == recipe):
            mean, half = row.values[name].value, _half(row, name)
            if row.level is not None:
                place = places[level_text(row.level)] + shift
                points.append(_point(row, name, colour, x=place, y=mean, y_error=half))
                continue
            lines.append(Line(corners=[(low, mean), (high, mean)], stroke=Stroke(colour, 1.4, "dash"), name=recipe))
            band = [(low, mean - half), (high, mean - half), (high, mean + half), (low, mean + half)]
            areas.append(Area(corners=band, colour=colour, opacity=0.12))
        joined, symbol = Stroke(colour, 1.4) if numbers else None, MARKERS[number % len(MARKERS)]
        if points:
            groups.append(Points(points=points, symbol=symbol, errors=Stroke(colour, 1.0), joined=joined, name=recipe))
    return Chart(
        title=family,
        description=_description(result, family, name),
        x=Axis(title=str(result.study.axis), window=(low, high), ticks=places),
        y=Axis(title=f"{NUMBERS[name]}, {result.split} split", window=_window(result, family, name)),
        rules=[Rule(at=0.0, vertical=False, stroke=ZERO)],
        areas=areas,
        lines=lines,
        points=groups,
        height=3.0,
    )


def _places(result: StudyResult) -> tuple[Mapping[str, float], bool]:
    """Where levels stand, by what is written there, and whether they are numbers; the same in every chart.

    A number stands at its place, or at that of its logarithm, words side by side.
    """
    levels = {level_text(row.level): row.level for row in result.rows if row.level is not None}
    numbers = {tick: float(level) for tick, level in levels.items() if is_number(level)}
    if len(numbers) < len(levels):
        return {tick: float(place) for place, tick in enumerate(levels)}, False
    log = result.study.log and min(numbers.values(), default=0.0) > 0
    ordered = sorted(numbers.items(), key=lambda item: item[1])
    return {tick: math.log10(level) if log else level for tick, level in ordered}, True


def _rows(result: StudyResult, family: str, name: str) -> list[StudyRow]:
    return [row for row in result.rows if row.family == family and name in row.values]


def _half(row: StudyRow, name: str) -> float:
    return half_width(row.values[name]) or 0.0


def _window(result: StudyResult, family: str, name: str) -> tuple[float, float]:
    """From 0 to every mean with its interval."""
    rows = _rows(result, family, name)
    return padded([0.0, *(row.values[name].value + side * _half(row, name) for row in rows for side in (-1, 1))])


def _point(row: StudyRow, name: str, colour: str, **place: Any) -> Point:
    level = "" if row.level is None else f", {level_text(row.level)}"
    shown = str(mean_cell(row.values[name], signed=True))
    hover = [HoverLine(strong=f"{row.recipe}{level}"), HoverLine(f"{name} ", shown)]
    return Point(**place, face=colour, edge=colour, hover=hover)


def _description(result: StudyResult, family: str, name: str) -> str:
    return f"{result.study.title}: {name} of {family}; every number stands in the table below."
