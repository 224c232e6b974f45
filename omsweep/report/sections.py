"""The sections of the report page, each a function from the sweep's view to HTML."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import yaml

from omsweep.report import captions
from omsweep.report.category_table import category_noise, category_table
from omsweep.report.figures import alternative_text, figure_html, front_figure
from omsweep.report.markup import Column, badge, cell, plus_minus, sort_key, swatch, symbol, table, text
from omsweep.report.styles import MUTED, colours_of, markers_of
from omsweep.report.trial_table import trial_table
from omsweep.results.front import SCORED_STATES
from omsweep.results.numbers import counted, fixed, short, with_error
from omsweep.results.view import SweepView

WHAT_IS_MEASURED = (
    "<b>Reward</b> is what the scorer gives the policy's answers beyond the SFT model's, averaged over prompts. "
    "<b>Tax</b> is what the policy lost of the SFT model's benchmark average, in points; negative means gained. "
    "Both are read from the search split."
)


def summary(view: SweepView) -> str:
    """Tiles with what ran, and the caution where methods may not be ranked."""
    content, resolved = view.summary, view.resolved
    states = ", ".join(f"{number} {state}" for state, number in content["trials"].items()) or "none finished"
    mode = {
        "compare": "blocked design, equal draws for every method",
        "search": "adaptive search, ranks nothing",
    }.get(str(resolved.get("mode")), "")
    merged = sum(trial.kind == "posthoc" for trial in view.trials)
    trained = view.trained_labels
    apart = f"{len(view.trials) - merged} trained, {merged} merged after training; {states}" if merged else states
    tiles = (
        ("Trials", str(len(view.trials)), apart),
        ("Families", str(len(view.families)), ", ".join(view.families) or "none yet"),
        ("Methods", str(len(trained)), ", ".join(trained) or "none yet"),
        ("Algorithms", str(len(view.algorithms)), ", ".join(view.algorithms) or "none yet"),
        ("Seeds per setting", str(content["seeds"]), mode),
        (
            "Mean hypervolume",
            fixed(content["hypervolume"]),
            f"over families; reference point {captions.reference(view)}",
        ),
    )
    boxes = "".join(
        f'<div class="card tile"><div class="name">{text(name)}</div><div class="figure">{text(figure)}</div>'
        f'<div class="note">{text(note)}</div></div>'
        for name, figure, note in tiles
    )
    return f'<div class="tiles">{boxes}</div>{_caution(view)}<p class="lead">{WHAT_IS_MEASURED}</p>'


def fronts(view: SweepView) -> str:
    """The interactive fronts with a legend that switches methods and algorithms off and on."""
    drawn = [family for family in view.families if view.scored(family)]
    if not drawn:
        return _section("fronts", "Fronts", "No trial has both objectives yet.", "")
    figures = []
    for position, family in enumerate(drawn):
        figure = figure_html(front_figure(view, family), element_id=f"front-{position}", include_library=position == 0)
        figures.append(
            f'<figure class="card" aria-label="{text(alternative_text(view, family))}">'
            f"<h3>{text(family)}</h3><figcaption>{text(captions.family_line(view, family))}</figcaption>"
            f"{figure}</figure>"
        )
    lead = (
        f"Up and to the left is better. Filled points are on the front, the shaded area is its hypervolume. "
        f"{_dots(view)}{text(captions.error_bars(view))}"
    )
    return _section("fronts", "Fronts", lead, f'{_legend(view)}<div class="figures">{"".join(figures)}</div>')


def _dots(view: SweepView) -> str:
    merged = any(trial.kind == "posthoc" for trial in view.trials)
    return "Small points with a dot were merged after training, without further training. " if merged else ""


def methods(view: SweepView) -> str:
    """Per family and method: counts, hypervolume (compare mode only), spread over seeds."""
    if not view.trials:
        return ""
    compare = view.summary["mode"] == "compare"
    columns = [
        Column(title="family", numeric=False, pinned=True),
        Column(title="label", numeric=False),
        Column(title="trials"),
        Column(title="scored"),
        Column(title="on the front"),
        *([Column(title="hypervolume", descending=True)] if compare else []),
        Column(title=f"{view.objectives.reward.name}, sd over seeds"),
        Column(title=f"{view.objectives.tax.name}, sd over seeds"),
    ]
    rows = []
    for family in view.families:
        labels = view.summary["families"][family]["labels"]
        for label in (name for name in view.labels if name in labels):
            rows.append(_method_row(view, family, label, labels[label], columns, compare))
    lead = {
        True: f"Each method's own hypervolume, {_draws(view)}. ",
        False: "No hypervolume per method: a search gives methods unequal draws. ",
    }[compare] + text(captions.ranking(view))
    return _section("methods", "Methods", lead, table(columns, rows, label="Methods"))


def _draws(view: SweepView) -> str:
    """Whether the scored trials a method's hypervolume comes from are as many as every other's."""
    for family in view.families:
        counts = {content["scored"] for content in view.summary["families"][family]["labels"].values()}
        if len(counts) > 1:
            return "from unequal numbers of scored trials: more draws alone make it larger"
    return "from equally many scored trials"


def trials(view: SweepView) -> str:
    """Every trial with every setting and diagnostic."""
    lead = "Every trial, sortable by any column; ★ marks the front. The legend above switches rows off and on too."
    return _section("trials", "Trials", lead, trial_table(view)) if view.trials else ""


def categories(view: SweepView) -> str:
    """Category scores of each family against its SFT model."""
    blocks = []
    for family in view.families:
        if not any(trial.scores for trial in view.scored(family)):
            continue
        noise = category_noise(view, family)
        about = f"One category's item noise is about ±{fixed(noise, 1)} points." if noise is not None else ""
        if not view.reference_scores(family):
            about = "The SFT model's scores are not recorded: scores in %, no differences. " + about
        blocks.append(f"<h3>{text(family)}</h3><p class='lead'>{text(about)}</p>{category_table(view, family)}")
    lead = (
        "Policy minus SFT model in points: orange lost, blue gained. An average near zero can hide a category "
        "that collapsed. Front members stand first."
    )
    return _section("categories", "Categories", lead, "".join(blocks)) if blocks else ""


def report_split(view: SweepView) -> str:
    """The front's members measured again on items that no selection has seen."""
    reward, tax = view.objectives.reward, view.objectives.tax
    if not view.summary["members"]:
        return ""
    members = [m for m in view.summary["members"] if m[f"{reward.name}_report"] is not None]
    lead = (
        "Members of a front were picked for their numbers on the search split, so those numbers flatter them. "
        "The report split's items took no part in the choice."
    )
    if not members:
        return _section("report-split", "Report split", f"{lead} No member has been scored on it yet.", "")
    columns = [
        Column(title="trial", numeric=False, pinned=True),
        Column(title="family", numeric=False),
        Column(title="label", numeric=False),
        Column(title=f"{reward.name}, search", descending=True),
        Column(title=f"{reward.name}, report", descending=True),
        Column(title=f"{tax.name}, search", first_of_group=True),
        Column(title=f"{tax.name}, report"),
    ]
    rows = [_report_row(view, member, columns) for member in members]
    return _section("report-split", "Report split", lead, table(columns, rows, label="Report split"))


def failures(view: SweepView) -> str:
    """Trials without scores and what they said."""
    lost = [trial for trial in view.trials if trial.state not in SCORED_STATES]
    if not lost:
        return _section("failures", "Failures", "None.", "")
    blocks = "".join(
        f'<div class="failure"><h3>{badge(trial.state)}<code>{text(trial.trial_id)}</code></h3>'
        f"<pre>{text(trial.error or 'no message')}</pre></div>"
        for trial in lost
    )
    return _section("failures", "Failures", f"{counted(len(lost), 'trial')} ended without scores.", blocks)


def error_bars(view: SweepView) -> str:
    """What the noise figures of this page cover and what they do not."""
    seeds = view.summary["seeds"]
    items = [
        "<b>Item noise</b> (bars in plots, ± in tables): 1.96 standard errors over prompts or questions, from paired "
        "differences to the SFT model on the same items. It answers how the same policy would score on other items.",
        "<b>Seed noise</b> (sd over seeds): how far policies of one recipe differ when only the seed changes. "
        + (
            "This sweep has settings with one seed, for which it is unknown."
            if seeds < 2
            else f"{seeds} seeds per setting."
        ),
        "<b>P(front)</b>: share of 1000 simulated measurements with that item noise in which a trial is on its "
        "family's front. Noise is drawn independently per trial; policies scored on the same items err together, so "
        "the truth is somewhat surer. Seeds are not in it.",
        "<b>Selection</b>: the best of many noisy numbers is too good on average. The report split corrects that.",
    ]
    return _section(
        "noise", "What the error bars cover", "", f"<ul>{''.join(f'<li>{item}</li>' for item in items)}</ul>"
    )


def provenance(view: SweepView) -> str:
    """Versions, commit, the resolved space and how to run it again."""
    described = view.description
    resolved = yaml.safe_dump(dict(view.resolved), sort_keys=False, allow_unicode=True)
    revision = described.get("git_revision")
    changed = " (with uncommitted changes)" if described.get("git_modified") else ""
    facts = {
        "created": described.get("created"),
        "commit": f"{revision}{changed}" if revision else "not a git checkout",
        **(described.get("versions") or {}),
    }
    listed = "".join(f"<dt>{text(name)}</dt><dd>{text(short(value))}</dd>" for name, value in facts.items())
    commands = [f"git checkout {revision}"] if revision else []
    commands.append(f"omsweep run {view.name}.yaml --name {view.name}-again")
    again = (
        f'<p>Save the resolved space as <a download="{text(view.name)}.yaml" '
        f'href="data:text/yaml;charset=utf-8,{quote(resolved)}">{text(view.name)}.yaml</a>, then</p>'
        f"<pre><code>{text(chr(10).join(commands))}</code></pre>"
        f"<details><summary>The resolved space</summary><pre><code>{text(resolved)}</code></pre></details>"
    )
    columns = (
        f'<div class="two"><div><h3>Run it again</h3>{again}</div><div><h3>Made with</h3><dl>{listed}</dl></div></div>'
    )
    return _section("provenance", "Reproduce", "", f'<div class="card">{columns}</div>')


def _section(element_id: str, title: str, lead: str, content: str) -> str:
    """A section; `lead` and `content` are HTML."""
    paragraph = f'<p class="lead">{lead}</p>' if lead else ""
    return f'<section id="{element_id}"><h2>{text(title)}</h2>{paragraph}{content}</section>'


def _caution(view: SweepView) -> str:
    if not view.summary["exploratory"] or not view.summary["scored"]:
        return ""
    return (
        f'<div class="caution"><p><b>{text(captions.ranking(view))}</b> Two runs of one recipe can differ by more than '
        "the methods do here; error bars show item noise only.</p></div>"
    )


def _legend(view: SweepView) -> str:
    def chip(kind: str, name: str, drawing: str) -> str:
        return (
            f'<button class="chip" data-filter="{kind}" data-value="{text(name)}" aria-pressed="true">'
            f"{drawing}{text(name)}</button>"
        )

    colours, markers = colours_of(view.labels), markers_of(view.algorithms)
    labels = "".join(chip("label", name, symbol(markers_of(["any"])["any"], colours[name])) for name in view.labels)
    algorithms = "".join(chip("algorithm", name, symbol(markers[name], MUTED)) for name in view.algorithms)
    return (
        f'<div class="legend"><span class="of">Method</span>{labels}<span class="of">Algorithm</span>{algorithms}</div>'
    )


def _method_row(
    view: SweepView, family: str, label: str, content: Mapping[str, Any], columns: list[Column], compare: bool
) -> str:
    values = [content["trials"], content["scored"], content["members"]]
    numbers = [text(value) for value in values]
    if compare:
        values.append(content["hypervolume"])
        numbers.append(text(fixed(content["hypervolume"])))
    for name in ("reward_sd_seeds", "tax_sd_seeds"):
        values.append(content[name])
        numbers.append(text(fixed(content[name])))
    cells = [
        cell(text(family), columns[0], family),
        cell(swatch(colours_of(view.labels)[label]) + text(label), columns[1], label),
        *(cell(shown, column, sort_key(v)) for shown, column, v in zip(numbers, columns[2:], values, strict=True)),
    ]
    return f"<tr>{''.join(cells)}</tr>"


def _report_row(view: SweepView, member: Mapping[str, Any], columns: list[Column]) -> str:
    cells = [
        cell(f"<code>{text(member['trial_id'])}</code>", columns[0], member["trial_id"]),
        cell(text(member["family"]), columns[1], member["family"]),
        cell(swatch(colours_of(view.labels)[member["label"]]) + text(member["label"]), columns[2], member["label"]),
    ]
    for metric, pair in ((view.objectives.reward, columns[3:5]), (view.objectives.tax, columns[5:7])):
        error = metric.standard_error
        found = with_error(member[metric.name], member.get(error) if error else None)
        again = with_error(member[f"{metric.name}_report"], member.get(f"{metric.name}_report_se_items"))
        cells.append(cell(plus_minus(found), pair[0], sort_key(member[metric.name])))
        cells.append(cell(plus_minus(again), pair[1], sort_key(member[f"{metric.name}_report"])))
    return f"<tr>{''.join(cells)}</tr>"
