"""How runs are called and what their descriptions say, as Markdown: pure functions of the log.

A description holds the signs `{experiment}`, `{sweep_run}` and `{folder}` for what only the store knows (`placed`);
no other text can hold them, since `escaped` writes a `\\` before each `{`.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from omsweep.results.front import label_of
from omsweep.results.numbers import short, with_error
from omsweep.sinks.fields import escaped
from omsweep.sinks.views import RUNS, drawn_knobs, objectives_of, view_key, view_page
from omsweep.store.records import SHOWN, TrialRecord
from omsweep.store.state import SweepState, TrialState

SHOWN_CHARACTERS = 16
"""What is left of a run's name in the table of runs."""
PLACE_CHARACTERS = 4
MOST_ROWS = 20
FRONT_CSV, FRONT_HTML = "front.csv", "front.html"


def sweep_id_of(state: SweepState) -> str:
    """What tells a sweep from all others."""
    return str(state.created.get("sweep_id") or f"{state.created['name']}-{state.created['created']}")


def run_name(trial: TrialState) -> str:
    """`ondare-dpo b2s1 tiny-llama`: the recipe and the place in the design first, since the UI cuts names.

    A label that would leave no room for the place is shortened there and written out at the end.
    """
    fields = trial.fields
    label, family = str(fields.get("label") or fields.get("method") or ""), str(fields["family"])
    if not label:
        return trial.trial_id
    rest = trial.trial_id.removeprefix(f"{family}-")
    place = "".join(rest.replace(label, "").split("-")) if label in rest else rest
    ending = f"-{fields['algorithm']}" if fields.get("algorithm") else ""
    room = SHOWN_CHARACTERS - 1 - min(PLACE_CHARACTERS, len(place)) - len(ending)
    if len(label) <= room:
        return f"{label}{ending} {place} {family}"
    return f"{label[: room - 1]}…{ending} {place} {family} {label}"


def source_tags(made_with: Mapping[str, Any]) -> dict[str, Any]:
    """What a run was made with, from data of an event `created` or `driver`: command, commit and versions."""
    versions = made_with.get("versions") or {}
    return {
        "mlflow.source.name": "omsweep run",
        "mlflow.source.type": "LOCAL",
        "mlflow.source.git.commit": made_with.get("git_revision"),
        "git_modified": made_with.get("git_modified"),
        **{f"version.{name}": version for name, version in versions.items()},
    }


def placed(note: str, *, experiment: str, sweep_run: str, folder: str) -> str:
    """A description once the store knows where it stands."""
    known = {"{experiment}": experiment, "{sweep_run}": sweep_run, "{folder}": escaped(folder)}
    for sign, value in known.items():
        note = note.replace(sign, value)
    return note


def sweep_note(state: SweepState) -> str:
    """What a sweep's run says: links, what it is, and its fronts so far."""
    resolved = state.resolved
    families = ", ".join(
        escaped(one if isinstance(one, str) else one.get("name")) for one in resolved.get("families") or ()
    )
    counts = ", ".join(f"{count} {name}" for name, count in sorted(state.counts.items())) or "none"
    about = [
        _links(state, "Reward against tax of all trials"),
        f"{escaped(resolved.get('mode'))} of {families}; trials that ended: {counts}.",
        "Folder: {folder}. Its report, `report.html`, is there; it is an artifact of this run once a driver has ended.",
    ]
    return "\n\n".join([*about, *_front_tables(state)])


def trial_note(state: SweepState, trial: TrialState) -> str:
    """What a trial's run says: whose it is, and once it has ended what it scored and where its policy is."""
    said = [_links(state, "All trials of the sweep"), f"Trial {escaped(trial.trial_id)} of the sweep in {{folder}}."]
    if trial.outcome is not None:
        record = trial.record
        scored = [
            f"{name} {with_error(*_with_errors(record, name))}" for name in objectives_of(state.resolved).values()
        ]
        said.append(f"{record.state}: {', '.join(scored)}.")
        if record.policy_path:
            said.append(f"Policy: {escaped(record.policy_path)}")
    return "\n\n".join(said)


def _links(state: SweepState, first: str) -> str:
    run = "#/experiments/{experiment}/runs/{sweep_run}"
    linked = {
        first: view_page("{experiment}", view_key(sweep_id_of(state))),
        "the sweep": f"{run}?{RUNS}",
        "its front, drawn": f"{run}/artifacts/{FRONT_HTML}?{RUNS}",
        "as a table": f"{run}/artifacts/{FRONT_CSV}?{RUNS}",
    }
    return " · ".join(f"[{text}]({address})" for text, address in linked.items())


def _front_tables(state: SweepState) -> Iterable[str]:
    objectives = list(objectives_of(state.resolved).values())
    for family, members in sorted(state.fronts.items()):
        rows = [state.trials[one.trial_id] for one in members]
        if rows:
            yield f"**Front of {escaped(family)}**"
            yield _table([*objectives, "recipe", *drawn_knobs(state.resolved)], [_row(state, one) for one in rows])


def _row(state: SweepState, trial: TrialState) -> list[str]:
    record = trial.record
    numbers = [with_error(*_with_errors(record, name)) for name in objectives_of(state.resolved).values()]
    recipe = f"{label_of(record)}-{record.algorithm}"
    known = {"family": record.family, "label": record.label, "algorithm": record.algorithm, **record.params}
    return [*numbers, recipe, *(short(known.get(name)) for name in drawn_knobs(state.resolved))]


def _with_errors(record: TrialRecord, name: str) -> tuple[float | None, float | None]:
    error = SHOWN[name].standard_error
    return getattr(record, name), getattr(record, error) if error else None


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    more = f"\n\nand {len(rows) - MOST_ROWS} more" if len(rows) > MOST_ROWS else ""
    lines = [head, ["---"] * len(head), *([escaped(cell) for cell in row] for row in rows[:MOST_ROWS])]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + more
