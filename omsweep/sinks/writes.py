"""What an event of the log means in MLflow, as plain data.

A pure function of the log, times included: writing the same event again changes nothing, since MLflow keeps one of two
metrics that agree in key, time, step and value.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from omsweep.sinks.data_sets import data_sets
from omsweep.sinks.described import run_name, source_tags, sweep_id_of, sweep_note, trial_note
from omsweep.sinks.front import membership, models
from omsweep.sinks.run_write import Point, Write, mark_of
from omsweep.sinks.views import TAG, view_key, view_tag
from omsweep.store.events import Event
from omsweep.store.folder import reference_of
from omsweep.store.records import SHOWN, TrialIdentity, TrialRecord, on_report_split
from omsweep.store.state import SweepState, TrialState
from omsweep.strict_json import flatten

RUN_STATUS = {
    "completed": "FINISHED",
    "stopped": "FINISHED",
    "diverged": "FAILED",
    "failed": "FAILED",
    "interrupted": "KILLED",
}
RUNNING = "RUNNING"
SWEEP_FILES: Sequence[str] = (
    *("sweep.json", "trials.jsonl", "trials.csv", "references.json", "front.json", "front.png"),
    *("answers.json", "report.html"),
    *("comparison.json", "comparison.md", "comparison.tex", "comparison.png"),
    *("study.md", "study.tex", "study.png"),
)
"""Files of a sweep's folder that its run holds once it is closed."""
LOSS_POINTS = 500
"""A trial of more steps shows every second loss, or every third and so on: MLflow's databases keep a row per point."""


def told(before: SweepState, after: SweepState, event: Event) -> list[Write]:
    """What an event makes of the runs, in order.

    Args:
        before, after: the sweep's state without and with the event.
        event: of any kind; most have nothing to tell.
    """
    tell = TOLD.get(event.kind)
    if tell is None or not after.created:
        return []
    return tell(
        before, after, event, Write(time=round(1000 * event.time), mark=mark_of(event), trial_id=event.trial_id)
    )


def trial_metrics(record: TrialRecord, reference_scores: Mapping[str, float | None]) -> dict[str, Any]:
    """A trial's numbers by metric name: mappings as `<field>.<name>`, `tax.<category>` in points.

    Args:
        record: of the trial.
        reference_scores: category scores in [0, 1] of its SFT model; the tax is reference minus policy.
    """
    metrics: dict[str, Any] = {}
    for name, shown in SHOWN.items():
        if shown.mlflow == "metric":
            metrics[name] = getattr(record, name)
        elif shown.mlflow == "metrics":
            metrics |= {f"{name}.{entry}": value for entry, value in getattr(record, name).items()}
    for category, score in record.scores.items():
        reference = reference_scores.get(category)
        if score is not None and reference is not None:
            metrics[f"tax.{category}"] = 100 * (reference - score)
    return metrics


def _created(before: SweepState, after: SweepState, event: Event, write: Write) -> list[Write]:
    tags = {"mode": after.resolved.get("mode"), "state": "running", **source_tags(event.data)}
    view = {f"{TAG}{view_key(sweep_id_of(after))}": view_tag(after)}
    return [replace(write, params=after.resolved, tags=tags, note=sweep_note(after), of_experiment=view)]


def _prepared(before: SweepState, after: SweepState, event: Event, write: Write) -> list[Write]:
    return [replace(write, data=data_sets(after))]


def _changed(before: SweepState, after: SweepState, event: Event, write: Write) -> list[Write]:
    """MLflow never changes a param: settings that grew are tags of the same name."""
    former = flatten(before.resolved)
    grown = {name: value for name, value in flatten(after.resolved).items() if former.get(name) != value}
    again = [before.trials[one] for one in event.data.get("retry", ()) if before.trials[one].outcome is not None]
    retry = replace(write, tags={"state": "retry", "error": ""})
    return [
        replace(write, tags={**grown, "state": "running"}, status=RUNNING),
        *(replace(retry, trial_id=one.trial_id, status=RUNNING if one.attempt else None) for one in again),
    ]


def _started(before: SweepState, after: SweepState, event: Event, write: Write) -> list[Write]:
    trial = after.trials[str(event.trial_id)]
    opening = _opening(after, trial, write)
    return [
        replace(opening, tags={**(opening.tags or {}), "attempt": trial.attempt, "state": "running"}, status=RUNNING)
    ]


def _progress(before: SweepState, after: SweepState, event: Event, write: Write) -> list[Write]:
    stride = _stride(after.trials[str(event.trial_id)])
    steps = enumerate(event.data["losses"], start=event.data["first_step"])
    points = (
        Point("loss", loss, write.time, step) for step, loss in steps if _finite(loss) and (step - 1) % stride == 0
    )
    return [replace(write, points=tuple(points))]


def _lost(before: SweepState, after: SweepState, event: Event, write: Write) -> list[Write]:
    lost = after.trials[str(event.trial_id)].lost[-1]
    return [replace(write, tags={f"lost.{lost.attempt}": f"{lost.reason}: {lost.error}"})]


def _ended(before: SweepState, after: SweepState, event: Event, write: Write) -> list[Write]:
    if before.trials[str(event.trial_id)].outcome is not None:
        return []  # the first end of a trial counts
    trial = after.trials[str(event.trial_id)]
    record = trial.record
    reference = reference_of(after.references(), record.family, record.sft_seed) or {}
    tags = {name: getattr(record, name) for name, shown in SHOWN.items() if shown.mlflow == "tag"}
    if record.merge_active is False:
        tags["merge"] = "inactive"
    metrics = trial_metrics(record, reference.get("scores") or {})
    (_, on_front), *beaten = membership(before, after, trial.trial_id)
    end = replace(
        write,
        points=_points(metrics, write),
        tags={**tags, "front": _yes(on_front)},
        note=trial_note(after, trial),
        status=RUN_STATUS[record.state],
    )
    never_started = [] if trial.attempt else [_opening(after, trial, write)]
    left = [replace(write, trial_id=one, tags={"front": _yes(on), "front_rank": ""}) for one, on in beaten]
    return [*never_started, end, *left, _volumes(after, replace(write, trial_id=None))]


def _volumes(state: SweepState, write: Write) -> Write:
    """`hypervolume.<family>` and their mean `hypervolume`; the step is the number of trials that ended."""
    per_family = state.hypervolumes()
    metrics = {f"hypervolume.{family}": value for family, value in per_family.items()}
    metrics["hypervolume"] = sum(per_family.values()) / len(per_family)
    return replace(write, points=_points(metrics, write, step=sum(state.counts.values())))


def _scored(before: SweepState, after: SweepState, event: Event, write: Write) -> list[Write]:
    if event.data["split"] != "report":
        return []
    return [replace(write, points=_points(on_report_split(event.data["numbers"]), write))]


def _driver(before: SweepState, after: SweepState, event: Event, write: Write) -> list[Write]:
    """A driver that takes over sets the sweep running; one that closes ends it, and what still runs with it."""
    closed = after.closed
    if closed is None:
        tags = {"state": "running", "error": "", **source_tags(event.data)}
        measured = bool((after.resolved.get("tracking") or {}).get("system_metrics"))
        return [replace(write, tags=tags, status=RUNNING, measured=measured)]
    killed = replace(write, tags={"state": "interrupted"}, status=RUN_STATUS["interrupted"])
    running = [one.trial_id for one in after.proposed() if one.attempt and not one.ended]
    own = replace(
        write,
        tags={"state": closed, "error": event.data.get("error")},
        status=RUN_STATUS[closed],
        files=True,
        models=models(after),
    )
    members = [replace(write, trial_id=model.trial_id) for model in own.models or ()]  # marked before they have models
    return [*(replace(killed, trial_id=trial_id) for trial_id in running), *members, own]


TOLD: Mapping[str, Callable[[SweepState, SweepState, Event, Write], list[Write]]] = {
    "created": _created,
    "prepared": _prepared,
    "changed": _changed,
    "started": _started,
    "progress": _progress,
    "lost": _lost,
    "ended": _ended,
    "scored": _scored,
    "driver": _driver,
}
"""By kind of event; the others have nothing to tell."""

WHAT: Mapping[str, str] = {
    "created": "the sweep's start",
    "prepared": "data sets",
    "changed": "changes of the sweep",
    "started": "starts of trials",
    "progress": "losses",
    "lost": "lost attempts",
    "ended": "results of trials",
    "scored": "scores on the report split",
    "driver": "the sweep's state and files",
}
"""By kind of event, what its writes are called in messages."""
assert WHAT.keys() == TOLD.keys()


def _opening(state: SweepState, trial: TrialState, write: Write) -> Write:
    """What a trial's run says of the trial: its place in the design, its settings and what it is made from."""
    names = TrialIdentity.model_fields
    spec = TrialIdentity(**{name: value for name, value in trial.fields.items() if name in names})
    tags = {name: getattr(spec, name) for name, shown in TrialIdentity.shown() if shown.mlflow == "tag"}
    known = {name: getattr(spec, name) for name in names if name != "params" and getattr(spec, name) is not None}
    return replace(
        write,
        params={**known, **spec.params},
        tags=source_tags(state.driver or state.created) | tags,
        name=run_name(trial),
        note=trial_note(state, trial),
        data=data_sets(state, trial.trial_id),
    )


def _yes(is_so: bool) -> str:
    return "true" if is_so else "false"


def _stride(trial: TrialState) -> int:
    """Every which step is shown: of what the trial means to do, so that it does not depend on how events come."""
    return max(1, math.ceil(((trial.fields.get("train") or {}).get("steps") or 0) / LOSS_POINTS))


def _points(metrics: Mapping[str, Any], write: Write, step: int = 0) -> tuple[Point, ...]:
    return tuple(Point(key, float(value), write.time, step) for key, value in metrics.items() if _finite(value))


def _finite(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
