"""What the terminal shows: how far a sweep is, what runs and waits, the front of each family, what failed."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from rich.text import Text

from omsweep.console import Console, say
from omsweep.redaction import visible
from omsweep.report import captions
from omsweep.report.answers import take
from omsweep.report.text_table import TextTable, terminal
from omsweep.results.front import label_of
from omsweep.results.numbers import MISSING, counted, duration, fixed, short, with_error
from omsweep.results.progress import Failure, Progress
from omsweep.results.running import LAST, Front, Working
from omsweep.results.view import SweepView, read_view
from omsweep.store.folder import SweepFolder
from omsweep.store.records import STATES
from omsweep.strict_json import read_json

LONGEST_MESSAGE = 160
ESTIMATE = f"left: what the family's last {LAST} trials took, by median"
LETTERS = "abcdefghijklmnopqrstuvwxyz"


def line(text: str, style: str = "") -> Text:
    """A line for the terminal in which nothing that others wrote is an order to it."""
    return Text(visible(text, lines=True), style=style)


def print_status(folder: SweepFolder, console: Console | None = None) -> None:
    """Print trials by method and state, what runs, each family's front, failures, and where the report lies."""
    console = console or Console()
    for one in status(read_view(folder), console.width):
        console.print(one, soft_wrap=True)
    if folder.report_html.is_file():
        console.print(Text.assemble("Report: ", (str(folder.report_html), "bold")), soft_wrap=True)


def print_answers(folder: SweepFolder) -> None:
    """Print what fronts have gained, what to beware of, and the tables of the study and the comparison as Markdown."""
    if folder.answers_json.is_file():
        for name, one in read_json(folder.answers_json)["families"].items():
            beware = [text for check, text in one["health"].items() if check != "no gain"]  # which the gains have said
            said = [*(gain["said"] for gain in one["gains"]), *beware]
            for sentence in said:
                say(f"{name}: {sentence}")
    for file in (folder.study_md, folder.comparison_md):
        if file.is_file():
            say("\n" + file.read_text(encoding="utf-8"), end="")


def status(view: SweepView, width: int) -> list[Text]:
    """What `print_status` prints, without the report's path; no line is folded."""
    progress = view.progress
    lines = [line(f"{view.name}: {captions.standing(progress)}", "bold"), *map(line, counts(view))]
    lines += now(progress, width)
    lines += [Text(""), *terminal(trial_table(view), width), Text("")] if view.trials else []
    for family in view.families:
        note = view.summary["families"][family]["note"]
        lines += terminal(front_table(view, family), width)
        lines += [*([line(f"{family}: {note}", "yellow")] if note else []), Text("")]
    lines += [*_volume_lines(view), *map(line, take.lines(view))]
    return [*lines, *failures(progress.failures)]


def now(progress: Progress, width: int, most: int | None = None) -> list[Text]:
    """What runs, what waits for what, and what stopping saved; of what runs at most so many lines."""
    at_work = progress.at_work
    lines = [] if not at_work else terminal(work_table(at_work[:most], progress.seconds_left), width)
    lines += [line(f"and {len(at_work) - most} more at work")] if most is not None and len(at_work) > most else []
    for one in progress.waits:
        named = f": {', '.join(one.trial_ids)}" if one.count <= 3 and len(one.trial_ids) == one.count else ""
        lines.append(line(f"{one.count} {'waits' if one.count == 1 else 'wait'} {one.why}{named}"))
    saved = captions.saved(progress)
    return lines + ([] if saved is None else [line(saved)])


def work_table(at_work: Sequence[Working], seconds_left: float | None) -> TextTable:
    """The trials at work."""
    all_left = "" if seconds_left is None else f", about {duration(seconds_left)} left if none is stopped from here on"
    known = any(one.seconds_left is not None for one in at_work)
    again = ("attempt",) if any(one.attempt > 1 for one in at_work) else ()
    return TextTable(
        title=f"At work{all_left}",
        columns=("trial", "phase", "step", "loss", "for", "left", *again),
        rows=[_work_cells(one)[: 6 + len(again)] for one in at_work],
        words=2,
        notes=(ESTIMATE,) if known else (),
    )


def _work_cells(one: Working) -> list[str]:
    match one.seconds_left:
        case None:
            left = MISSING
        case 0.0:
            left = "longer than others"
        case seconds:
            left = f"about {duration(seconds)}"
    step = MISSING if one.step is None else f"{one.step} of {one.steps}"
    loss = MISSING if one.loss is None else fixed(one.loss, 3)
    return [one.trial_id, one.phase, step, loss, duration(one.seconds), left, str(one.attempt)]


def counts(view: SweepView) -> list[str]:
    """`12 of 96 trials have ended, 2 running, 82 waiting; 11 with both objectives, 4 on a front`, then what was lost
    and what was used."""
    summary = view.summary
    first, *more = how_far(view.progress)
    return [f"{first}; {summary['scored']} with both objectives, {len(summary['members'])} on a front", *more]


def how_far(progress: Progress) -> list[str]:
    """`12 of 96 trials have ended, 2 running, 82 waiting`, then what was lost and what was used."""
    parts = [captions.ended(progress)]
    merged, more = captions.merges(progress), (captions.lost(progress), captions.budget(progress))
    parts += [f"{progress.running} running"] if progress.state == "running" else []
    parts += [f"{progress.waiting} waiting"] if progress.unfinished else []
    parts += [] if merged is None else [merged]
    return [", ".join(parts), *(one for one in more if one is not None)]


def trial_table(view: SweepView) -> TextTable:
    """How many trials of each label ended in each state."""
    present = [state for state in STATES if state in view.summary["trials"]]
    rows = []
    for label in view.labels:
        mine = [trial for trial in view.trials if label_of(trial) == label]
        states: Counter[str] = Counter(trial.state for trial in mine)
        on_front = sum(trial.trial_id in view.member_ids for trial in mine)
        rows.append([label, *(str(states[state]) for state in present), str(on_front)])
    return TextTable(title="Trials", columns=("method", *present, "on a front"), rows=rows)


def front_table(view: SweepView, family: str) -> TextTable:
    """The members of one family's front by tax, with 1.96 item standard errors."""
    reward, tax = view.objectives.reward, view.objectives.tax
    content = view.summary["families"][family]
    members = [member for member in view.summary["members"] if member["family"] == family]
    rescored = any(member[f"{reward.name}_report"] is not None for member in members)
    rows = [_member_cells(member, view) for member in members]
    return TextTable(
        title=f"Front of {family}: {len(members)} of {content['scored']} scored trials, "
        f"hypervolume {fixed(content['hypervolume'])}",
        columns=("trial", "recipe", "lr", "reward", f"{tax.name} ({tax.unit})", *(("rescored",) if rescored else ())),
        rows=rows if rescored else [row[:-1] for row in rows],
        words=2,
        notes=("± 1.96 item standard errors; seeds differ by more",),
    )


def _member_cells(member: Mapping[str, Any], view: SweepView) -> list[str]:
    reward, tax = view.objectives.reward, view.objectives.tax
    on_report_split = [fixed(member[f"{metric.name}_report"], signed=True) for metric in (reward, tax)]
    outside = f"; outside of {', '.join(member['outside'])}" if member["outside"] else ""
    return [
        member["trial_id"],
        f"{member['label'] or MISSING} {member['algorithm'] or ''}{outside}",
        short(member["params"].get("learning_rate")),
        with_error(member[reward.name], member.get(reward.standard_error or "")),
        with_error(member[tax.name], member.get(tax.standard_error or "")),
        " / ".join(on_report_split),
    ]


def _volume_lines(view: SweepView) -> list[Text]:
    summary, reference = view.summary, view.summary["reference_point"]
    if not summary["scored"]:
        return [line("No trial has both objectives yet.", "yellow")]
    volume = Text(
        f"Hypervolume, mean over families: {fixed(summary['hypervolume'])} "
        f"(reference point: reward {short(reference['reward'])}, tax {short(reference['tax'])})."
    )
    if summary["exploratory"]:
        volume.append(f" {captions.ranking(view)}", style="yellow")
    lines = [volume]
    if summary["mode"] == "compare":
        for family in view.families:
            labels = summary["families"][family]["labels"]
            volumes = (f"{label} {fixed(labels[label]['hypervolume'])}" for label in view.labels if label in labels)
            lines.append(line(f"Hypervolume by method, {family}: {', '.join(volumes)}"))
    return lines


def drawn(front: Front, width: int, height: int) -> list[Text]:
    """A family's front as a drawing of so many columns and rows, the axes included: tax to the right, reward upwards.

    `*` is the SFT model, at the origin; letters are the front's members by tax, dots other trials, but for those that
    are so far from it that they would press it together.
    """
    shown = [(0.0, 0.0), *((one.tax, one.reward) for one in front.members)]
    left, right = _ends([tax for tax, _ in shown], [one.tax for one in front.others])
    low, high = _ends([reward for _, reward in shown], [one.reward for one in front.others])
    labels = [fixed(one, signed=True) for one in (high, low)]
    margin = max(map(len, labels)) + 2
    columns, rows = width - margin, height - 2
    grid = [[" "] * columns for _ in range(rows)]

    def place(tax: float, reward: float) -> tuple[int, int]:
        return (
            round((high - reward) / (high - low) * (rows - 1)),
            round((tax - left) / (right - left) * (columns - 1)),
        )

    _draw_line(grid, [place(*one) for one in sorted(shown)])
    marks = [(one.tax, one.reward, "·") for one in front.others]
    marks += [(one.tax, one.reward, letter(i)) for i, one in enumerate(front.members)] + [(0.0, 0.0, "*")]
    for tax, reward, mark in marks:
        row, column = place(tax, reward)
        if 0 <= row < rows and 0 <= column < columns:
            grid[row][column] = mark
    sides = {0: labels[0], rows - 1: labels[1]}
    lines = [f"{sides.get(row, ''):>{margin - 2}} │{''.join(cells).rstrip()}" for row, cells in enumerate(grid)]
    far = sum(not (left <= one.tax <= right and low <= one.reward <= high) for one in front.others)
    ends = f"{fixed(left, signed=True)} tax; * SFT model" + (f"; {counted(far, 'trial')} further off" if far else "")
    lines += [f"{'reward':>{margin - 1}}└{'─' * columns}"[:width]]
    lines += [" " * margin + ends + f"{fixed(right, signed=True):>{columns - len(ends)}}"]
    return [Text(one) for one in lines]


def _ends(near: Sequence[float], others: Sequence[float]) -> tuple[float, float]:
    """Ends of an axis: what is near lies between them, and of the others what is not further off than that is long."""
    low, high = min(near), max(near)
    long = high - low or 1.0
    kept = [*near, *(one for one in others if low - long <= one <= high + long), high + long / 10]
    return min(kept), max(kept)


def _draw_line(grid: list[list[str]], places: Sequence[tuple[int, int]]) -> None:
    """The steps of a front through places in order of tax; a later one that is lower lies under the line."""
    rows, columns = len(grid), len(grid[0])
    row, column = places[0]
    for next_row, next_column in [*places[1:], (rows, columns)]:
        for one in range(column, min(next_column, columns)):
            grid[row][one] = "─"
        if next_column < columns:
            for one in range(min(next_row, row), row + 1):
                grid[one][next_column] = "│" if one < row else "┘"
        row, column = min(row, next_row), next_column


def letter(place: int) -> str:
    """What stands for a member of a front in a drawing: the first 26 have a letter each."""
    return LETTERS[place] if place < len(LETTERS) else "o"


def member_table(front: Front, most: int | None = None) -> TextTable:
    """The members of a drawn front by tax, at most so many."""
    scored, more = len(front.members) + len(front.others), len(front.members) - len(front.members[:most])
    return TextTable(
        title=f"Front of {front.family}: {len(front.members)} of {counted(scored, 'scored trial')}, "
        f"hypervolume {fixed(front.hypervolume)}",
        columns=("trial", "reward", "tax"),
        rows=[
            [f"{letter(i)} {one.trial_id}", fixed(one.reward, signed=True), fixed(one.tax, signed=True)]
            for i, one in enumerate(front.members[:most])
        ],
        notes=(f"and {more} more on the front",) if more else (),
    )


def failures(found: Sequence[Failure]) -> list[Text]:
    """A line for each trial that ended without scores."""
    return [line(_failure_line(one), "red") for one in found]


def _failure_line(one: Failure) -> str:
    attempts = f" after {one.attempts} attempts" if one.attempts > 1 else ""
    where = f" ({one.traceback})" if one.traceback else ""
    return f"{one.state}{attempts}: {one.trial_id}: {_one_line(one.error)}{where}"


def _one_line(message: str | None) -> str:
    text = " ".join((message or "no message").split())
    return text if len(text) <= LONGEST_MESSAGE else text[: LONGEST_MESSAGE - 1] + "…"
