"""Tables for the terminal: how far a sweep is, the front of each family, what failed."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from omsweep.console import Console, say
from omsweep.report import captions
from omsweep.report.answers.take import lines
from omsweep.results.front import label_of
from omsweep.results.numbers import MISSING, fixed, short, with_error
from omsweep.results.progress import Failure
from omsweep.results.view import SweepView, read_view
from omsweep.store.folder import SweepFolder
from omsweep.store.records import STATES
from omsweep.strict_json import read_json

LONGEST_MESSAGE = 160
LOOK: Mapping[str, Any] = {"title_justify": "left", "box": SIMPLE_HEAD, "padding": (0, 1, 0, 0)}


def print_status(folder: SweepFolder, console: Console | None = None) -> None:
    """Print trials by method and state, each family's front, failures, and where the report lies."""
    console = console or Console()
    console.print(status(read_view(folder)))
    if folder.report_html.is_file():
        console.print(Text.assemble("Report: ", (str(folder.report_html), "bold")), soft_wrap=True)


def print_answers(folder: SweepFolder) -> None:
    """Print what fronts have gained, what to beware of, and the tables of the study and the comparison as Markdown."""
    if folder.answers_json.is_file():
        for name, one in read_json(folder.answers_json)["families"].items():
            said = [*(gain["said"] for gain in one["gains"]), *one["health"].values()]
            for sentence in said:
                say(f"{name}: {sentence}")
    for file in (folder.study_md, folder.comparison_md):
        if file.is_file():
            say("\n" + file.read_text(encoding="utf-8"), end="")


def status(view: SweepView) -> RenderableType:
    """What `print_status` prints, without the report's path."""
    parts: list[RenderableType] = [Text(f"{view.name}: {captions.standing(view.progress)}", style="bold")]
    parts += [Text(line) for line in counts(view)]
    parts += [trial_table(view)] if view.trials else []
    for family in view.families:
        note = view.summary["families"][family]["note"]
        parts += [front_table(view, family), *([Text(f"{family}: {note}", style="yellow")] if note else [])]
    parts += [_volume_line(view), *map(Text, lines(view))]
    parts += [Text(_failure_line(one), style="red") for one in view.progress.failures]
    return Group(*parts)


def counts(view: SweepView) -> list[str]:
    """`12 of 96 trials have ended, 2 running, 82 waiting; 11 with both objectives, 4 on a front`, then what was lost
    and what was used."""
    progress, summary = view.progress, view.summary
    parts = [captions.ended(progress)]
    merged, more = captions.merges(progress), (captions.lost(progress), captions.budget(progress))
    parts += [f"{progress.running} running"] if progress.state == "running" else []
    parts += [f"{progress.waiting} waiting"] if progress.unfinished else []
    parts += [] if merged is None else [merged]
    found = f"{summary['scored']} with both objectives, {len(summary['members'])} on a front"
    return [f"{', '.join(parts)}; {found}", *(line for line in more if line is not None)]


def trial_table(view: SweepView) -> Table:
    """How many trials of each label ended in each state."""
    present = [state for state in STATES if state in view.summary["trials"]]
    table = Table(title="Trials", **LOOK)
    table.add_column("method")
    for name in (*present, "on a front"):
        table.add_column(name, justify="right")
    for label in view.labels:
        mine = [trial for trial in view.trials if label_of(trial) == label]
        states: Counter[str] = Counter(trial.state for trial in mine)
        on_front = sum(trial.trial_id in view.member_ids for trial in mine)
        table.add_row(escape(label), *(str(states[state]) for state in present), str(on_front))
    return table


def front_table(view: SweepView, family: str) -> Table:
    """The members of one family's front by tax, with 1.96 item standard errors."""
    reward, tax = view.objectives.reward, view.objectives.tax
    content = view.summary["families"][family]
    members = [member for member in view.summary["members"] if member["family"] == family]
    rescored = any(member[f"{reward.name}_report"] is not None for member in members)
    table = Table(
        title=f"Front of {escape(family)}: {len(members)} of {content['scored']} scored trials, "
        f"hypervolume {fixed(content['hypervolume'])}",
        caption="± 1.96 item standard errors; seeds differ by more",
        caption_justify="left",
        **LOOK,
    )
    table.add_column("trial", overflow="fold")
    table.add_column("recipe", overflow="fold")
    for name in ("lr", "reward", f"{tax.name} ({tax.unit})", *(("rescored",) if rescored else ())):
        table.add_column(name, justify="right", no_wrap=True)
    for member in members:
        cells = _member_cells(member, view)
        table.add_row(*(cells if rescored else cells[:-1]))
    return table


def _member_cells(member: Mapping[str, Any], view: SweepView) -> list[str]:
    reward, tax = view.objectives.reward, view.objectives.tax
    on_report_split = [fixed(member[f"{metric.name}_report"], signed=True) for metric in (reward, tax)]
    return [
        escape(member["trial_id"]),
        escape(f"{member['label'] or MISSING} {member['algorithm'] or ''}") + _outside(member),
        short(member["params"].get("learning_rate")),
        with_error(member[reward.name], member.get(reward.standard_error or "")),
        with_error(member[tax.name], member.get(tax.standard_error or "")),
        " / ".join(on_report_split),
    ]


def _outside(member: Mapping[str, Any]) -> str:
    return f"[yellow]; outside of {escape(', '.join(member['outside']))}[/]" if member["outside"] else ""


def _volume_line(view: SweepView) -> Text:
    summary, reference = view.summary, view.summary["reference_point"]
    text = Text(
        f"Hypervolume, mean over families: {fixed(summary['hypervolume'])} "
        f"(reference point: reward {short(reference['reward'])}, tax {short(reference['tax'])})."
    )
    if not summary["scored"]:
        text = Text("No trial has both objectives yet.", style="yellow")
    elif summary["exploratory"]:
        text.append(f" {captions.ranking(view)}", style="yellow")
    if summary["mode"] == "compare":
        for family in view.families:
            labels = summary["families"][family]["labels"]
            volumes = ", ".join(
                f"{label} {fixed(labels[label]['hypervolume'])}" for label in view.labels if label in labels
            )
            text.append(f"\nHypervolume by method, {family}: {volumes}")
    return text


def _failure_line(one: Failure) -> str:
    attempts = f" after {one.attempts} attempts" if one.attempts > 1 else ""
    where = f" ({one.traceback})" if one.traceback else ""
    return f"{one.state}{attempts}: {one.trial_id}: {_one_line(one.error)}{where}"


def _one_line(message: str | None) -> str:
    text = " ".join((message or "no message").split())
    return text if len(text) <= LONGEST_MESSAGE else text[: LONGEST_MESSAGE - 1] + "…"
