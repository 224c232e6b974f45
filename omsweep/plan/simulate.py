"""Replay recorded trials on virtual time, through a real proposer and the real rule. Ray-free, torch-free.

Trials whose scores and seconds are known beforehand, at their rungs and at the end, run on `slots` places at once. Time
jumps from event to event, so that a sweep of hours takes milliseconds and a rule can be judged over many seeds.
"""

import heapq
import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from omsweep.plan.proposer import Proposer
from omsweep.plan.stopping import Decision, Paused, rungs_of
from omsweep.space.schema import Scheduler
from omsweep.store.records import TrialSpec
from omsweep.store.state import Rung

KNOBS = ("learning_rate", "beta", "alpha", "density")


class Rule(Protocol):
    """What is asked of `omsweep.plan.stopping.Stopping`."""

    def decide(self, trial_id: str, family: str, rung: Rung) -> Decision:
        """What becomes of a trial at a rung."""

    def tell(self, trial_id: str, outcome: Mapping[str, Any] | None) -> None:
        """How a trial ended."""

    def resume(self, family: str, *, more: bool) -> Paused | None:
        """The paused trial that goes on next."""


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """A trial as it was recorded.

    Attributes:
        rungs: by step, what a rung there scores and the seconds that takes.
        end: fields of its outcome, `reward` and `tax` among them.
        step_seconds: of an optimizer step.
        score_seconds: of scoring it at the end.
    """

    rungs: Mapping[int, tuple[Rung, float]]
    end: Mapping[str, Any]
    step_seconds: float
    score_seconds: float


class Ended(NamedTuple):
    """A trial that ended: the virtual second, its spec, `completed` or `stopped`, and its outcome."""

    seconds: float
    spec: TrialSpec
    state: str
    outcome: Mapping[str, Any]


def recipe_of(spec: TrialSpec) -> dict[str, Any]:
    """What tells a recipe from another, as trials are recorded under it."""
    knobs = {name: spec.params[name] for name in KNOBS if name in spec.params}
    return {"label": spec.label, "algorithm": spec.algorithm, **knobs}


def simulate(
    proposer: Proposer,
    recorded: Callable[[TrialSpec], Recorded],
    *,
    scheduler: Scheduler,
    rule: Rule | None,
    slots: int = 1,
    start_seconds: float = 0.0,
) -> list[Ended]:
    """Run all of a proposer's trials; how they ended, in that order.

    A trial that pauses leaves its slot, and pays `start_seconds` again when it goes on; those that pause in the end are
    stopped.

    Args:
        proposer: is told every end.
        recorded: what a trial scores and takes.
        scheduler: where the rungs lie.
        rule: None stops nobody and scores no rung.
        slots: trials at once.
        start_seconds: from a free slot to the first step.
    """
    return _Clock(proposer, recorded, scheduler, rule, start_seconds).run(slots)


@dataclass
class _Running:
    """A trial, its rungs to come and how many steps it has taken."""

    spec: TrialSpec
    recorded: Recorded
    rungs: list[tuple[int, int]]
    step: int = 0


class _Clock:
    """One simulated sweep; the queue holds when a running trial is scored next."""

    def __init__(
        self,
        proposer: Proposer,
        recorded: Callable[[TrialSpec], Recorded],
        scheduler: Scheduler,
        rule: Rule | None,
        start_seconds: float,
    ) -> None:
        self._proposer, self._recorded, self._scheduler, self._rule = proposer, recorded, scheduler, rule
        self._start_seconds, self._now = start_seconds, 0.0
        self._queue: list[tuple[float, int, _Running]] = []
        self._serial = itertools.count()
        self._paused: dict[str, _Running] = {}
        self._ends: list[Ended] = []

    def run(self, slots: int) -> list[Ended]:
        """The ends of all trials."""
        free = self._fill(slots)
        while self._queue:
            self._now, _, running = heapq.heappop(self._queue)
            if self._goes_on(running):
                self._advance(running, self._now)
            else:
                free = self._fill(free + 1)
        for running in self._paused.values():
            self._end(running, "stopped")
        return self._ends

    def _fill(self, free: int) -> int:
        """Start trials; how many slots stay free."""
        while free and (running := self._next()) is not None:
            self._advance(running, self._now + self._start_seconds)
            free -= 1
        return free

    def _next(self) -> _Running | None:
        more = any(self._proposer.left().values())
        for family in sorted({running.spec.family for running in self._paused.values()}):
            again = self._rule.resume(family, more=more) if self._rule is not None else None
            if again is not None:
                return self._paused.pop(again.trial_id)
        made = self._proposer.next()
        if made is None:
            return None
        steps, gap_steps = made.spec.params["steps"], made.spec.params.get("gap_steps", 1)
        rungs = [] if self._rule is None else list(rungs_of(self._scheduler, steps, gap_steps))
        return _Running(made.spec, self._recorded(made.spec), rungs)

    def _advance(self, running: _Running, at: float) -> None:
        """To the next rung or the end, until it is scored."""
        recorded = running.recorded
        step = running.rungs[0][1] if running.rungs else running.spec.params["steps"]
        scoring = recorded.rungs[step][1] if running.rungs else recorded.score_seconds
        at += (step - running.step) * recorded.step_seconds + scoring
        running.step = step
        heapq.heappush(self._queue, (at, next(self._serial), running))

    def _goes_on(self, running: _Running) -> bool:
        """Whether a trial that was scored keeps its slot."""
        spec = running.spec
        if not running.rungs or self._rule is None:
            self._end(running, "completed")
            return False
        level, step = running.rungs.pop(0)
        decision = self._rule.decide(spec.trial_id, spec.family, running.recorded.rungs[step][0]._replace(level=level))
        if decision.stop:
            self._end(running, "stopped")
        elif decision.verdict == "pause":
            self._paused[spec.trial_id] = running
        return decision.verdict == "go on"

    def _end(self, running: _Running, state: str) -> None:
        spec = running.spec
        outcome = {**(running.recorded.end if state == "completed" else {}), "state": state}
        self._proposer.tell(spec.trial_id, outcome)
        if self._rule is not None:
            self._rule.tell(spec.trial_id, outcome)
        self._ends.append(Ended(self._now, spec, state, outcome))
