"""How a sweep went: hypervolume over the hours its drivers worked, and when each attempt ran."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from omsweep.store.events import Event
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
class Course:
    """How a sweep went; without a log, that of a sweep from before, no steps and no spans."""

    steps: Sequence[Step] = ()
    spans: Sequence[Span] = ()


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
    return Course(steps=[step for of_family in steps.values() for step in of_family], spans=list(spans.values()))


def _add_step(steps: dict[str, list[Step]], state: SweepState, family: str, now: float) -> None:
    """One more where the hypervolume is another than before; the last says where the line ends."""
    known = steps.setdefault(family, [])
    hours, ended = state.used_until(now).wall_seconds / 3600, sum(state.counts.values())
    known.append(Step(family=family, hours=hours, trials=ended, hypervolume=state.hypervolumes()[family]))
    if len(known) > 2 and known[-3].hypervolume == known[-2].hypervolume == known[-1].hypervolume:
        del known[-2]
