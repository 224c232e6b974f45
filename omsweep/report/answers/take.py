"""What a sweep answers, in words and tables: what to take, which knobs matter, what to beware of."""

from collections.abc import Mapping
from typing import Any

from omsweep.report.cells import Cell, Column, Row, Table, measured, number, plain
from omsweep.results.answers.importance import BEST, SHUFFLES, TARGETS, Importance, Importances
from omsweep.results.answers.picks import Choice, Pick
from omsweep.results.answers.whole import Answers, quick_answers
from omsweep.results.front import PAIRED
from omsweep.results.numbers import counted, fixed, with_error
from omsweep.results.view import SweepView

Content = Mapping[str, Any]
MOST_KNOBS = 8
"""Of each target that the page shows; `answers.json` has all."""


def taken(view: SweepView) -> Content | None:
    """What to take from each family, and over what its front has gains; None where nothing was scored."""
    answers = _answers(view)
    choices = [choice for choice in answers.choices if view.scored(choice.family)]
    if not choices:
        return None
    return {
        "families": [
            {
                "name": choice.family,
                "gains": [gain.said for gain in answers.gains[choice.family]],
                "table": _picks(view, choice) if choice.picks else None,
                "picks": choice.picks,
                "remarks": choice.remarks,
            }
            for choice in choices
        ],
        "paired": all(view.summary["families"][one.family]["front_probability_from"] == PAIRED for one in choices),
    }


def knobs(view: SweepView) -> Content | None:
    """Per family which knobs matter, or why that is not shown; None where nothing was scored, or not looked for."""
    found = [one for one in _answers(view).importances if view.scored(one.family)]
    if not found:
        return None
    families = [{"name": one.family, "missing": one.missing, "table": _knob_table(view, one)} for one in found]
    return {"families": families, "best": f"{BEST:.0%}", "shuffles": SHUFFLES}


def beware(view: SweepView) -> Content | None:
    """What the checks of each family said; None where nothing was checked."""
    answers = view.answers
    if answers is None or not view.trials:
        return None
    return {
        "families": {family: [one.said for one in answers.health if one.family == family] for family in view.families}
    }


def lines(view: SweepView) -> list[str]:
    """What to take, for a terminal; families in which nothing was scored are left out.

    Not what it beats: tables of scores can tell more of that than the log, and only a whole report reads them.
    """
    said = []
    for choice in _answers(view).choices:
        if not view.scored(choice.family):
            continue
        said.append(f"What to take from {choice.family} (chosen on the search split):")
        for pick in choice.picks:
            said += [f"  {_line(view, pick)}", *(f"    {remark}" for remark in pick.remarks)]
        said += [f"  {remark}" for remark in choice.remarks]
        said += [f"  Export it: {choice.picks[0].command}"] if choice.picks else []
    return said


def _answers(view: SweepView) -> Answers:
    return view.answers or quick_answers(view)


def _line(view: SweepView, pick: Pick) -> str:
    reading, tax = pick.reading, view.objectives.tax
    return (
        f"{' and '.join(pick.aims)}: {pick.trial_id}, reward {with_error(reading.reward, reading.reward_error)},"
        f" {tax.name} {with_error(reading.tax, reading.tax_error)} ({reading.split} split)"
    )


def _picks(view: SweepView, choice: Choice) -> Table:
    tax = view.objectives.tax
    columns = [
        Column(title="best at", numeric=False, pinned=True),
        Column(title="trial", numeric=False),
        Column(title="recipe", numeric=False),
        Column(title="reward", first_of_group=True),
        Column(title=f"{tax.name} ({tax.unit})"),
        Column(title="read on", numeric=False, hint="the report split took no part in the choice"),
        Column(title="P(front)", hint="chance of being on the front, given the noise of items"),
    ]
    return Table(
        label=f"What to take from {choice.family}",
        columns=columns,
        rows=[Row(cells=_cells(pick)) for pick in choice.picks],
        sortable=False,
    )


def _cells(pick: Pick) -> list[Cell]:
    return [
        plain("; ".join(pick.aims)),
        plain(pick.trial_id, code=True),
        plain(f"{pick.label} {pick.algorithm or ''}".strip()),
        measured(pick.reading.reward, pick.reading.reward_error),
        measured(pick.reading.tax, pick.reading.tax_error),
        plain(f"{pick.reading.split} split"),
        number(pick.front_probability),
    ]


def _knob_table(view: SweepView, found: Importances) -> Table | None:
    if not found.knobs:
        return None
    by_target = {target: [one for one in found.knobs if one.target == target][:MOST_KNOBS] for target in TARGETS}
    names = list(dict.fromkeys(one.knob for some in by_target.values() for one in some))
    shares = {(one.target, one.knob): one for one in found.knobs}
    titles = [view.objectives.reward.name, view.objectives.tax.name, "the front"]
    columns = [Column(title="knob", numeric=False, pinned=True), *(Column(title=title) for title in titles)]
    rows = [Row(cells=[plain(name), *(_share(shares.get((target, name))) for target in TARGETS)]) for name in names]
    label = f"Importance of knobs in {found.family}, over {counted(found.trials, 'trial')}"
    return Table(label=label, columns=columns, rows=rows, sortable=False)


def _share(one: Importance | None) -> Cell:
    if one is None:
        return Cell()
    return Cell(f"{fixed(100 * one.share, 0)} %" if one.shown else "no more than chance", sort=one.share)
