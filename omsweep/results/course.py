"""How a sweep went: hypervolume over the hours its drivers worked, when each attempt ran, and what stopping saved."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from omsweep.store.events import Event
from omsweep.store.records import TrialRecord
from omsweep.store.state import SweepState, apply

ENDS = {"ended": None, "lost": "lost", "paused": "paused"}
"""Kinds of events that end an attempt, and its state; None for the trial's own."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """The hypervolume of a family from a time on: `hours` in which a driver was at work, `trials` that had ended."""

    family: str
    hours: float
    trials: int
    hypervolume: float


@dataclass(frozen=True, kw_only=True)
class Span:
    """One attempt at a trial: Unix times of its start and end, and how it ended; None while it runs."""

    trial_id: str
    attempt: int
    start: float
    end: float | None
    state: str | None


@dataclass(frozen=True, kw_only=True)
class Savings:
    """What early stopping saved of training: `trials` stopped, `seconds`, and their `share` of what all would take."""

    trials: int
    seconds: float
    share: float


@dataclass(frozen=True, kw_only=True)
class Course:
    """How a sweep went; without a log, that of a sweep from before, no steps and no spans."""

    steps: Sequence[Step] = ()
    spans: Sequence[Span] = ()
    savings: Savings | None = None


def course_of(events: Iterable[Event]) -> Course:
    """How the sweep went whose log these events are."""
    state = SweepState()
    steps: dict[str, list[Step]] = {}
    spans: dict[tuple[str, int], Span] = {}
    for event in events:
        state = apply(state, event)
        attempt = (str(event.trial_id), event.attempt or 1)
        if event.kind == "started":
            spans[attempt] = Span(trial_id=attempt[0], attempt=attempt[1], start=event.time, end=None, state=None)
        elif event.kind in ENDS:
            how = ENDS[event.kind] or event.data["outcome"]["state"]
            if attempt in spans:
                began = spans[attempt].start
                spans[attempt] = Span(trial_id=attempt[0], attempt=attempt[1], start=began, end=event.time, state=how)
            if event.kind == "ended" and event.trial_id in state.trials:
                _add_step(steps, state, str(state.trials[attempt[0]].fields["family"]), event.time)
    return Course(
        steps=[step for of_family in steps.values() for step in of_family],
        spans=list(spans.values()),
        savings=savings_of(state.records()),
    )


def _add_step(steps: dict[str, list[Step]], state: SweepState, family: str, now: float) -> None:
    """One more where the hypervolume is another than before; the last says where the line ends."""
    known = steps.setdefault(family, [])
    hours, ended = state.used_until(now).wall_seconds / 3600, sum(state.counts.values())
    known.append(Step(family=family, hours=hours, trials=ended, hypervolume=state.hypervolumes()[family]))
    if len(known) > 2 and known[-3].hypervolume == known[-2].hypervolume == known[-1].hypervolume:
        del known[-2]


def savings_of(trials: Iterable[TrialRecord]) -> Savings | None:
    """What stopping saved: of each stopped trial the steps it did not take, at its family's mean seconds a step.

    Seconds of training alone: what scoring at rungs cost is not taken off, nor what scoring at the end would have cost
    added. None where no trial was stopped, or none of its family that ended says how long it trained.
    """
    of_family: dict[str, list[TrialRecord]] = {}
    for trial in trials:
        if trial.kind == "trained" and trial.steps:
            of_family.setdefault(trial.family, []).append(trial)
    saved = whole = 0.0
    stopped = 0
    for ran in of_family.values():
        timed = [trial for trial in ran if trial.seconds.get("train")]
        if not timed:
            continue
        pace = sum(trial.seconds["train"] or 0.0 for trial in timed) / sum(trial.steps or 0 for trial in timed)
        left = [trial.params.get("steps", 0) - (trial.steps or 0) for trial in ran if trial.state == "stopped"]
        stopped += len(left)
        saved += pace * sum(left)
        whole += pace * (sum(left) + sum(trial.steps or 0 for trial in ran))
    return Savings(trials=stopped, seconds=saved, share=saved / whole) if saved > 0 else None
