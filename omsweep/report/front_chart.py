"""The fronts: every family's trials by tax and reward, the front's line, and the area its hypervolume counts."""

from collections.abc import Sequence

from omsweep.report import captions, styles
from omsweep.report.charts import (
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
)
from omsweep.report.styles import INK, MUTED, STAR, colours_of, markers_of
from omsweep.results.front import label_of
from omsweep.results.geometry import Mark, dominated_area, front_line, marks, staircase, window
from omsweep.results.numbers import Z95, counted, fixed, short, with_error
from omsweep.results.view import SweepView
from omsweep.store.records import TrialRecord

MOST_COLUMNS = 3
REFERENCE = Stroke(MUTED, 0.8, "dash")
SFT_HOVER = HoverLine(strong="SFT model", after=", untrained: reward 0, tax 0 by definition")
SFT_MODEL = Points(
    points=[Point(x=0.0, y=0.0, face=INK, edge=INK, size=11, raised=True, text="SFT", hover=[SFT_HOVER])],
    symbol=STAR,
    errors=Stroke(INK, 0.8),
)


def front_sheet(view: SweepView) -> Sheet:
    """`front.png`: a chart per family that has scored trials."""
    reference = captions.reference(view)
    return Sheet(
        title=f"Sweep {view.name}",
        remark=Note(captions.ranking(view), styles.CAUTION if view.summary["exploratory"] else MUTED),
        charts=front_charts(view),
        columns=MOST_COLUMNS,
        legend=_legend(view),
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
    line = front_line(shown)
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
        lines=[Line(corners=staircase(line), stroke=Stroke(styles.FRONT_LINE, 1.3))],
        points=[SFT_MODEL, *_groups(view, shown)],
    )


def _groups(view: SweepView, shown: Sequence[Mark]) -> list[Points]:
    groups = []
    for label, colour in colours_of(view.labels).items():
        for algorithm, symbol in markers_of(view.algorithms).items():
            tags = {"label": label, "algorithm": algorithm}
            points = [_point(view, mark, colour) for mark in shown if _tags(mark.trial) == tags]
            groups.append(Points(points=points, symbol=symbol, errors=Stroke(colour, 0.8, opacity=0.4), tags=tags))
    return [group for group in groups if group.points]


def _tags(trial: TrialRecord) -> dict[str, str]:
    return {"label": label_of(trial), "algorithm": trial.algorithm or "none"}


def _point(view: SweepView, mark: Mark, colour: str) -> Point:
    """Filled on the front, hollow off it; what was merged after training is smaller with a dot inside."""
    merged = mark.trial.kind == "posthoc"
    return Point(
        x=mark.tax,
        y=mark.reward,
        x_error=mark.tax_error,
        y_error=mark.reward_error,
        face=colour if mark.on_front else styles.PAPER,
        edge=INK if mark.on_front else colour,
        edge_width=0.9 if mark.on_front else 1.2,
        size=(8.0 if mark.on_front else 6.5) - 1.5 * merged,
        dotted=merged,
        raised=mark.on_front,
        hover=_hover(view, mark),
    )


def _hover(view: SweepView, mark: Mark) -> list[HoverLine]:
    trial, tax = mark.trial, view.objectives.tax
    label, algorithm = _tags(trial).values()
    rest = [
        *([f"tax {fixed(trial.tax, signed=True)} points"] if tax.name != "tax" else []),
        *([f"merged after training from {trial.parent}"] if trial.parent is not None else []),
        *(f"{name} {short(value)}" for name, value in view.settings[trial.trial_id].items()),
        f"learning rate applied {short(trial.learning_rate_applied)}",
        f"KL {fixed(trial.kl)} nats, length ratio {fixed(trial.length_ratio)}",
        f"worst category's tax {fixed(trial.tax_worst)} points",
        *(
            ["merging inactive: it moved under 1 % of the displacement and dropped under 1 % of the update"]
            if trial.merge_active is False
            else []
        ),
    ]
    return [
        HoverLine(strong=trial.trial_id, after=" ★ on the front" if mark.on_front else ""),
        HoverLine(f"{algorithm}, {label}, block {short(trial.block)}, seed {short(trial.seed)}"),
        HoverLine("reward ", with_error(mark.reward, mark.reward_error / Z95 or None)),
        HoverLine(f"{tax.name} ", with_error(mark.tax, mark.tax_error / Z95 or None), f" {tax.unit}"),
        *map(HoverLine, rest),
    ]


def _legend(view: SweepView) -> list[LegendEntry]:
    trained = view.trained_labels
    merged = [LegendEntry("merged after training", styles.CIRCLE_WITH_DOT)] if len(trained) < len(view.labels) else []
    return [
        *(LegendEntry(name, styles.CIRCLE, colour) for name, colour in colours_of(trained).items()),
        *(LegendEntry(name, marker) for name, marker in markers_of(view.algorithms).items()),
        *merged,
        LegendEntry("on the front", styles.CIRCLE, "#9aa3b0", edge=INK),
        LegendEntry("SFT model", STAR, INK, size=11),
    ]
