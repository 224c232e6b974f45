"""What each section of the report page shows, as plain data for the template of the same name."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import yaml

from omsweep.report import captions
from omsweep.report.answers import take
from omsweep.report.category_table import MOST_ROWS, category_noise, category_table
from omsweep.report.cells import Column, Row, Table, measured, number, plain
from omsweep.report.comparison_chart import comparison_charts
from omsweep.report.comparison_tables import tables
from omsweep.report.front_chart import front_charts
from omsweep.report.study_chart import study_charts
from omsweep.report.study_table import study_tables
from omsweep.report.styles import CIRCLE, MUTED, Marker, colours_of, markers_of
from omsweep.report.trials.charts import course_charts, travel_charts
from omsweep.report.trials.data import states_of
from omsweep.results.numbers import fixed, short
from omsweep.results.study import asked_study, study_result
from omsweep.results.view import SweepView

Content = Mapping[str, Any]
MOST_FAILURES = 30


@dataclass(frozen=True)
class Tile:
    """A number at the top of the page."""

    name: str
    figure: str
    note: str


@dataclass(frozen=True)
class Chip:
    """A button that switches trials on and off by what they have in common, with their look in charts."""

    name: str
    marker: Marker | None = None
    colour: str = MUTED


def tiles(view: SweepView) -> list[Tile]:
    """What ran, in numbers."""
    content, resolved, progress = view.summary, view.resolved, view.progress
    states = ", ".join(f"{count} {state}" for state, count in content["trials"].items()) or "none finished"
    all_ended = progress.planned is None or progress.ended_count >= progress.planned
    draws = "equal draws for every method" if all_ended else "whose draws are not all there"
    mode = {
        "compare": f"blocked design, {draws}",
        "search": "adaptive search, ranks nothing",
    }.get(str(resolved.get("mode")), "")
    merged = sum(trial.kind == "posthoc" for trial in view.trials)
    apart = f"{len(view.trials) - merged} trained, {merged} merged after training; {states}" if merged else states
    counted = {"Families": view.families, "Methods": view.trained_labels, "Algorithms": view.algorithms}
    return [
        Tile("Trials", str(len(view.trials)) if all_ended else f"{progress.ended_count} of {progress.planned}", apart),
        *(Tile(name, str(len(names)), ", ".join(names) or "none yet") for name, names in counted.items()),
        Tile("Seeds per setting", str(content["seeds"]), mode),
        Tile(
            "Mean hypervolume",
            fixed(content["hypervolume"]),
            f"over families; reference point {captions.reference(view)}",
        ),
    ]


def study(view: SweepView) -> Content | None:
    """Charts and tables; None where no study with an axis is asked for or nothing has ended."""
    asked = asked_study(view)
    if asked is None or not view.trials:
        return None
    result = study_result(view, asked)
    return {"title": asked.title, "charts": study_charts(result), "tables": study_tables(view, result)}


def filters(view: SweepView) -> dict[str, list[Chip]]:
    """Chips by what they switch, which are the legend of all charts of trials too; one alone stands for a colour."""
    colours, markers = colours_of(view.labels), markers_of(view.algorithms)
    chips = {
        "label": [Chip(name, CIRCLE, colour) for name, colour in colours.items()],
        "algorithm": [Chip(name, marker) for name, marker in markers.items()],
        "family": [Chip(name) for name in view.families],
        "state": [Chip(name) for name in states_of(view)],
    }
    return {kind: some for kind, some in chips.items() if kind in ("label", "algorithm") or len(some) > 1}


def fronts(view: SweepView) -> Content:
    """The interactive fronts."""
    return {
        "charts": front_charts(view),
        "merged": any(trial.kind == "posthoc" for trial in view.trials),
        "error_bars": captions.ERROR_BARS,
    }


def comparison(view: SweepView) -> Content | None:
    """Tables, curves, and what is not shown; None where no comparison was asked for."""
    found = view.findings
    if found is None:
        return None
    return {"missing": found.missing, "tables": tables(found), "charts": comparison_charts(found)}


def methods(view: SweepView) -> Content | None:
    """Per family and method: counts, hypervolume (compare mode only), spread over seeds."""
    if not view.trials:
        return None
    compare = view.summary["mode"] == "compare"
    colours = colours_of(view.labels)
    rows = []
    for family in view.families:
        labels = view.summary["families"][family]["labels"]
        for label in (name for name in view.labels if name in labels):
            content = labels[label]
            counts = [number(content[name], 0) for name in ("trials", "scored", "members")]
            names = [*(["hypervolume"] if compare else []), "reward_sd_seeds", "tax_sd_seeds"]
            cells = [plain(family), plain(label, swatch=colours[label]), *counts]
            rows.append(Row(cells=[*cells, *(number(content[name]) for name in names)]))
    columns = [
        Column(title="family", numeric=False, pinned=True),
        Column(title="label", numeric=False),
        *(Column(title=title) for title in ("trials", "scored", "on the front")),
        *([Column(title="hypervolume", descending=True)] if compare else []),
        *(Column(title=f"{metric.name}, sd over seeds") for metric in (view.objectives.reward, view.objectives.tax)),
    ]
    return {
        "compare": compare,
        "equal": all(
            len({content["scored"] for content in family["labels"].values()}) == 1
            for family in view.summary["families"].values()
        ),
        "ranking": captions.ranking(view),
        "table": Table(label="Methods", columns=columns, rows=rows),
    }


def trials(view: SweepView) -> Content | None:
    """Nothing more than that there are any: the table is made by the page's script."""
    return {} if view.trials else None


def categories(view: SweepView) -> Content | None:
    """Category scores of each family against its SFT model."""
    shown = [family for family in view.families if any(trial.scores for trial in view.scored(family))]
    noises = {family: category_noise(view, family) for family in shown}
    blocks = [
        {
            "family": family,
            "noise": None if noise is None else fixed(noise, 1),
            "compared": bool(view.reference_scores(family)),
            "more": max(0, sum(bool(trial.scores) for trial in view.scored(family)) - MOST_ROWS),
            "table": category_table(view, family),
        }
        for family, noise in noises.items()
    ]
    return {"blocks": blocks} if blocks else None


def course(view: SweepView) -> Content | None:
    """The hypervolume over time and the timeline; None where nothing is known of either."""
    charts = course_charts(view)
    return {"charts": charts} if charts else None


def travel(view: SweepView) -> Content | None:
    """Reward and tax over density and travel; None where they do not vary."""
    charts = travel_charts(view)
    return {"charts": charts} if charts else None


def report_split(view: SweepView) -> Content | None:
    """The front's members measured again on items that no selection has seen."""
    if not view.summary["members"]:
        return None
    reward, tax = view.objectives.reward, view.objectives.tax
    members = [m for m in view.summary["members"] if m[f"{reward.name}_report"] is not None]
    columns = [
        Column(title="trial", numeric=False, pinned=True),
        Column(title="family", numeric=False),
        Column(title="label", numeric=False),
        Column(title=f"{reward.name}, search", descending=True),
        Column(title=f"{reward.name}, report", descending=True),
        Column(title=f"{tax.name}, search", first_of_group=True),
        Column(title=f"{tax.name}, report"),
    ]
    rows = [_report_row(view, member) for member in members]
    return {"table": Table(label="Report split", columns=columns, rows=rows)}


def _report_row(view: SweepView, member: Mapping[str, Any]) -> Row:
    cells = [
        plain(member["trial_id"], code=True),
        plain(member["family"]),
        plain(member["label"], swatch=colours_of(view.labels)[member["label"]]),
    ]
    for metric in (view.objectives.reward, view.objectives.tax):
        report = f"{metric.name}_report"
        cells.append(measured(member[metric.name], member.get(metric.standard_error or "")))
        cells.append(measured(member[report], member.get(f"{report}_se_items")))
    return Row(cells=cells)


def files_beside(view: SweepView) -> Mapping[str, str]:
    """Files beside the page with all that it shows, by what is in them."""
    files = {
        "every number and setting of every trial": "trials.csv",
        "the same as JSON": "trials.jsonl",
        "the fronts": "front.json",
    }
    return files if view.trials else {}


def noise(view: SweepView) -> Content:
    """What the noise figures of this page cover and what they do not."""
    return {"seeds": view.summary["seeds"]}


def failures(view: SweepView) -> Content:
    """Trials without scores and what they said; attempts that were lost on the way."""
    lost = view.progress.failures
    return {"lost": lost[:MOST_FAILURES], "count": len(lost), "attempts": captions.lost(view.progress)}


def provenance(view: SweepView) -> Content:
    """Versions, commit, the resolved space and how to run it again."""
    described = view.description
    resolved = yaml.safe_dump(dict(view.resolved), sort_keys=False, allow_unicode=True)
    revision = described.get("git_revision")
    changed = " (with uncommitted changes)" if described.get("git_modified") else ""
    facts = {
        "created": described.get("created"),
        "commit": f"{revision}{changed}" if revision else "an installed package, not a git checkout",
        **(described.get("versions") or {}),
    }
    commands = [f"git checkout {revision}"] if revision else []
    return {
        "facts": {name: short(value) for name, value in facts.items()},
        "commands": [*commands, f"omsweep run {view.name}.yaml --name {view.name}-again"],
        "resolved": resolved,
        "download": f"data:text/yaml;charset=utf-8,{quote(resolved)}",
    }


SECTIONS: Mapping[str, tuple[str, Callable[[SweepView], Content | None]]] = {
    "answers": ("What to take", take.taken),
    "health": ("Beware", take.beware),
    "study": ("Study", study),
    "fronts": ("Fronts", fronts),
    "trials": ("Trials", trials),
    "comparison": ("Comparison", comparison),
    "methods": ("Methods", methods),
    "importance": ("Knobs", take.knobs),
    "categories": ("Categories", categories),
    "travel": ("Density and travel", travel),
    "course": ("Course", course),
    "report-split": ("Report split", report_split),
    "noise": ("Error bars", noise),
    "failures": ("Failures", failures),
    "provenance": ("Reproduce", provenance),
}
"""Sections in the order of the page: its template and anchor, what links to it, and what it shows."""
