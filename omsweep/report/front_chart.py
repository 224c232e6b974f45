"""The fronts: every family's trials by tax and reward, the front's line, and the area its hypervolume counts."""

from collections.abc import Sequence

from omsweep.report import captions, styles
from omsweep.report.charts import (
    GAP,
    Area,
    Axis,
    Chart,
    HoverLine,
    LegendEntry,
    Line,
    Note,
    Point,
    Points,
    Rule,
    Sheet,
    Stroke,
    legend_of,
)
from omsweep.report.styles import INK, MUTED, STAR, colours_of, markers_of
from omsweep.results.front import label_of
from omsweep.results.geometry import Mark, dominated_area, front_line, marks, paths, staircase, window
from omsweep.results.numbers import counted
from omsweep.results.view import SweepView

MOST_COLUMNS = 3
MOST_BARS = 150
"""Trials of a family up to which all have error bars; of more, those on the front have."""
MOST_PATHS = 12
BASELINE, BASELINE_NAME, PATH_NAME = "adamw", "front of AdamW alone", "merged back towards the SFT model"
REFERENCE = Stroke(MUTED, 0.8, "dash")
FRONT = Stroke(styles.FRONT_LINE, 1.3)
BASELINE_LINE, PATH_LINE = Stroke(styles.BASELINE_COLOUR, 1.0, "dash"), Stroke(styles.FRONT_FILL, 0.9, "dot")
SFT_HOVER = HoverLine(strong="SFT model", after=", untrained: reward 0, tax 0 by definition")
SFT_MODEL = Points(
    points=[Point(x=0.0, y=0.0, face=INK, edge=INK, size=11, raised=True, text="SFT", hover=[SFT_HOVER])],
    symbol=STAR,
    errors=Stroke(INK, 0.8),
)


def front_sheet(view: SweepView) -> Sheet:
    """`front.png`: a chart per family that has scored trials."""
    reference, charts = captions.reference(view), front_charts(view)
    return Sheet(
        title=f"Sweep {view.name}",
        remark=Note(captions.ranking(view), styles.CAUTION if view.summary["exploratory"] else MUTED),
        charts=charts,
        columns=MOST_COLUMNS,
        legend=_legend(view, charts),
        notes=[
            Note(captions.ERROR_BARS),
            Note("Line: the front on the search split, of which the SFT model may be part."),
            Note(f"Shaded: its hypervolume (reference point {reference})."),
        ],
        empty="No trial has both objectives yet.",
    )


def front_charts(view: SweepView) -> list[Chart]:
    """One chart per family that has scored trials: tax to the right, reward upwards, better is up and to the left."""
    return [front_chart(view, family) for family in view.families if view.scored(family)]


def front_chart(view: SweepView, family: str) -> Chart:
    """A family's trials; a group of points is one method and algorithm, as its tags say."""
    shown = marks(view, family)
    seen = window(shown, view.objectives)
    line = front_line(mark for mark in shown if mark.on_front)
    area = dominated_area(line, view.objectives)
    tax, reward = view.objectives.tax, view.objectives.reward
    caption = captions.family_line(view, family)
    return Chart(
        title=family,
        caption=caption,
        note=f"{counted(seen.beyond, 'trial')} outside of the plot not shown." if seen.beyond else "",
        description=f"Reward against tax of {family}: {caption}.",
        x=Axis(title=f"{tax.title} ({tax.unit}), less is better", window=seen.tax),
        y=Axis(title=f"{reward.title} ({reward.unit})", window=seen.reward),
        rules=[
            Rule(at=view.objectives.reference_reward, vertical=False, stroke=REFERENCE),
            Rule(at=view.objectives.reference_tax, vertical=True, stroke=REFERENCE),
        ],
        areas=[Area(corners=area, colour=styles.FRONT_FILL, opacity=0.09)] if area else [],
        lines=[*_paths(shown), *_baseline(shown), Line(corners=staircase(line), stroke=FRONT, name="front")],
        points=[SFT_MODEL, *_groups(view, shown)],
    )


def _baseline(shown: Sequence[Mark]) -> list[Line]:
    """AdamW's own front, where other methods were trained too."""
    trained = [mark for mark in shown if mark.trial.kind == "trained"]
    mine = [mark for mark in trained if mark.trial.method == BASELINE]
    if not mine or len(mine) == len(trained):
        return []
    return [Line(corners=staircase(front_line(mine)), stroke=BASELINE_LINE, name=BASELINE_NAME)]


def _paths(shown: Sequence[Mark]) -> list[Line]:
    """Paths from the SFT model to policies, as one line with gaps."""
    found = paths(shown)[:MOST_PATHS]
    corners = [corner for path in found for corner in (*path, GAP)]
    return [Line(corners=corners[:-1], stroke=PATH_LINE, name=PATH_NAME)] if found else []


def _groups(view: SweepView, shown: Sequence[Mark]) -> list[Points]:
    """A group per method, algorithm and look; those on the front last, so that they lie above the others."""
    colours, symbols = colours_of(view.labels), markers_of(view.algorithms)
    places = {trial.trial_id: i for i, trial in enumerate(view.trials)}
    groups: dict[tuple[bool, str, str], list[Mark]] = {}
    for mark in shown:
        key = mark.on_front, label_of(mark.trial), mark.trial.algorithm or "none"
        groups.setdefault(key, []).append(mark)
    bars = len(shown) <= MOST_BARS
    return [
        Points(
            points=[_point(mark, colours[label], places[mark.trial.trial_id], bars or on_front) for mark in marks_of],
            symbol=symbols[algorithm],
            errors=Stroke(colours[label], 0.8, opacity=0.4),
        )
        for (on_front, label, algorithm), marks_of in sorted(groups.items(), key=lambda one: one[0])
    ]


def _point(mark: Mark, colour: str, place: int, bars: bool) -> Point:
    """Filled on the front, hollow off it; what was merged after training is smaller with a dot inside."""
    merged = mark.trial.kind == "posthoc"
    return Point(
        x=mark.tax,
        y=mark.reward,
        x_error=mark.tax_error if bars else 0.0,
        y_error=mark.reward_error if bars else 0.0,
        face=colour if mark.on_front else styles.PAPER,
        edge=INK if mark.on_front else colour,
        edge_width=0.9 if mark.on_front else 1.2,
        size=(8.0 if mark.on_front else 6.5) - 1.5 * merged,
        dotted=merged,
        raised=mark.on_front,
        trial=place,
    )


def _legend(view: SweepView, charts: Sequence[Chart]) -> list[LegendEntry]:
    trained = view.trained_labels
    lines = [one for one in legend_of(charts) if one.stroke]
    merged = [LegendEntry("merged after training", styles.CIRCLE_WITH_DOT)] if len(trained) < len(view.labels) else []
    return [
        *(LegendEntry(name, styles.CIRCLE, colour) for name, colour in colours_of(trained).items()),
        *(LegendEntry(name, marker) for name, marker in markers_of(view.algorithms).items()),
        *merged,
        *lines,
        LegendEntry("on the front", styles.CIRCLE, "#9aa3b0", edge=INK),
        LegendEntry("SFT model", STAR, INK, size=11),
    ]
