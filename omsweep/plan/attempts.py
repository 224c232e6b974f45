"""How trials start, are tried again and end, as events of the log. Ray-free.

An attempt that is lost (its process died, it hung, the disk was full) is no result: the searcher is not told of it, and
the trial is tried again as often as `AGAIN` allows for that reason. What a trial itself raises is its result.
"""

import math
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from omsweep.plan.proposer import Proposer
from omsweep.plan.stopping import Decision, Stopping
from omsweep.redaction import redacted
from omsweep.store.log import SweepLog
from omsweep.store.records import TRAINED, Ended, Outcome, Part, TrialIdentity, TrialRecord, TrialSpec
from omsweep.store.state import Rung, TrialState
from omsweep.strict_json import plain


@dataclass(frozen=True, kw_only=True)
class Again:
    """What is done about a lost attempt.

    Attributes:
        times: how often a trial is tried again for this reason; None for always.
        anew: whether each driver counts anew: a machine that goes down with its driver takes trials with it before the
            driver knows.
        alone: whether that is done while no other trial runs.
        pause: seconds in which no trial is started after such a loss.
        remedy: what would help, said when it fails for good.
    """

    times: int | None
    anew: bool = False
    alone: bool = False
    pause: float = 0.0
    remedy: str = ""


AGAIN: dict[str, Again] = {
    "driver stopped": Again(times=None),
    "preempted": Again(times=None),
    "process lost": Again(times=2, anew=True),
    "out of memory": Again(
        times=1,
        alone=True,
        remedy="lower train.concurrent_trials or train.batch_size, or declare memory_gib in train.resources_per_worker",
    ),
    "hung": Again(times=1, remedy="raise train.trial_timeout where it is too short"),
    "storage full": Again(times=None, pause=60.0, remedy="free space in its storage, the sweep tries every minute"),
    "scoring failed": Again(times=1, remedy="`omsweep retry` scores it without training it again"),
}


class Job(NamedTuple):
    """One attempt at a trial."""

    spec: TrialSpec
    attempt: int
    part: Part = "whole"


def scoring(family: str) -> str:
    """How jobs of a family's trials are counted that only score; the others are under the family's name."""
    return f"{family} (scoring)"


class Listener(Protocol):
    """Is told what becomes of trials."""

    def ended(self, record: TrialRecord, outcome: Outcome) -> None:
        """A trial has ended."""

    def tried_again(self, trial_id: str, reason: str, error: str) -> None:
        """An attempt was lost and its trial waits for another."""


class Attempts:
    """Starts and ends trials in the log; attempts that an earlier driver left running are lost.

    Args:
        log: of the sweep.
        listeners: are told of each end.
    """

    def __init__(self, log: SweepLog, listeners: Sequence[Listener] = ()) -> None:
        self.log = log
        self._listeners = listeners
        for trial in log.state.proposed():
            if trial.phase in ("started", "trained"):
                self._lose(trial, "driver stopped", "the driver ended before the trial did", None)

    def state_of(self, trial_id: str) -> TrialState | None:
        """A trial so far; None before it was proposed."""
        return self.log.state.trials.get(trial_id)

    def propose(self, spec: TrialSpec, drawn: Mapping[str, object] | None = None) -> None:
        """Note a trial, unless it is known."""
        propose(self.log, spec, drawn)

    def job(self, trial_id: str) -> Job:
        """The next attempt at a known trial."""
        trial = self.log.state.trials[trial_id]
        return Job(trial.spec, trial.attempt + 1)

    def start(self, job: Job, accelerator: str | None = None, cpus: float = 0.0, gpus: float = 0.0) -> None:
        """Note that an attempt runs.

        Args:
            job: the attempt.
            accelerator: the kind that it is bound to, None for any.
            cpus, gpus: what all its workers hold together.
        """
        where: dict[str, Any] = {} if accelerator is None else {"accelerator_type": accelerator}
        where |= {name: amount for name, amount in (("cpus", cpus), ("gpus", gpus)) if amount}
        self.log.append("started", trial_id=job.spec.trial_id, attempt=job.attempt, **where)

    def end(self, trial_id: str, outcome: Outcome) -> bool:
        """Note how an attempt ended; whether the trial has ended with it, or is to be tried again."""
        trial = self.log.state.trials[trial_id]
        if trial.outcome is not None:
            return True  # Tune reports a trial as failed, too, where something raises after it completed
        error = redacted(outcome.error) if outcome.error else None
        traceback = self._keep_traceback(trial, outcome)
        if outcome.reason is not None:
            again = AGAIN[outcome.reason]
            counted = [one for one in trial.lost if not again.anew or one.epoch == self.log.epoch]
            before = sum(one.reason == outcome.reason for one in counted)
            self._lose(trial, outcome.reason, error or outcome.reason, traceback)
            if again.times is None or before < again.times:
                said = f"{error}; {again.remedy}" if again.pause else error or ""
                for one in self._listeners:
                    one.tried_again(trial_id, outcome.reason, said)
                return False
            tried = f" ({before + 1} times)" if before else ""
            error = f"{error or outcome.reason}{tried}" + (f"; {again.remedy}" if again.remedy else "")
        self.note_losses(trial_id, 1, outcome.losses)
        ended = outcome.model_copy(update={"error": error})
        kept = {name: getattr(ended, name) for name in Ended.model_fields if name != "attempts"}
        where: dict[str, Any] = {} if traceback is None else {"traceback": traceback}
        self.log.append("ended", trial_id=trial_id, attempt=max(1, trial.attempt), outcome=plain(kept), **where)
        record = self.log.state.trials[trial_id].record
        for one in self._listeners:
            one.ended(record, outcome)
        return True

    def note_rung(self, trial_id: str, rung: Rung, decision: Decision) -> None:
        """Note what a running trial scored at a rung and what was decided on it, unless that is known."""
        trial = self.log.state.trials[trial_id]
        if all(one.level != rung.level for one in trial.rungs):
            data = rung._replace(decision=decision.verdict, why=decision.why).to_json()
            self.log.append("rung", trial_id=trial_id, attempt=max(1, trial.attempt), **plain(data))

    def hand_over(self, trial_id: str, outcome: Outcome) -> None:
        """Note what training gave, and that the trial waits for a job that scores it."""
        self.note_losses(trial_id, 1, outcome.losses)
        self.note_trained(trial_id, outcome.to_json())
        self.pause(trial_id)

    def pause(self, trial_id: str) -> None:
        """Note that a trial waits, at its rung or trained, and holds nothing."""
        self.log.append("paused", trial_id=trial_id, attempt=max(1, self.log.state.trials[trial_id].attempt))

    def resume(self, trial_id: str, level: int, why: str) -> None:
        """Note that a paused trial is to go on from its rung."""
        attempt = max(1, self.log.state.trials[trial_id].attempt)
        self.log.append("rung", trial_id=trial_id, attempt=attempt, level=level, decision="go on", why=why)

    def running(self) -> list[str]:
        """Trials that are being trained or scored after training."""
        trials = self.log.state.trials.values()
        return [
            one.trial_id
            for one in trials
            if one.phase in ("started", "trained") and one.fields.get("kind") != "posthoc"
        ]

    def note_losses(self, trial_id: str, first_step: int, losses: Sequence[float | None]) -> None:
        """Note losses of a running trial; those of steps that are known are not noted again."""
        with self.log.lock:
            trial = self.log.state.trials[trial_id]
            new = losses[max(0, trial.steps + 1 - first_step) :]
            if trial.phase in ("started", "trained") and new and first_step <= trial.steps + 1:
                first = max(first_step, trial.steps + 1)
                data: dict[str, Any] = {"first_step": first, "losses": plain(list(new))}
                self.log.append("progress", trial_id=trial_id, attempt=trial.attempt, sync=False, **data)

    def note_trained(self, trial_id: str, outcome: Mapping[str, Any]) -> None:
        """Note that a running trial has only to be scored."""
        with self.log.lock:
            trial = self.log.state.trials[trial_id]
            if trial.phase == "started":
                kept = {name: value for name, value in outcome.items() if name in Ended.model_fields}
                self.log.append("trained", trial_id=trial_id, attempt=trial.attempt, outcome=kept)

    def _lose(self, trial: TrialState, reason: str, error: str, traceback: str | None) -> None:
        where: dict[str, Any] = {} if traceback is None else {"traceback": traceback}
        attempt = max(1, trial.attempt)
        self.log.append("lost", trial_id=trial.trial_id, attempt=attempt, reason=reason, error=error, **where)

    def _keep_traceback(self, trial: TrialState, outcome: Outcome) -> str | None:
        if outcome.traceback is None:
            return None
        name = f"tracebacks/{trial.trial_id}-{max(1, trial.attempt)}.txt"
        text = redacted(outcome.traceback).encode()
        self.log.patiently(lambda: self.log.storage.write(name, text))
        return name


def propose(log: SweepLog, spec: TrialSpec, drawn: Mapping[str, object] | None = None) -> None:
    """Note a trial in a log, unless it is known there."""
    if spec.trial_id not in log.state.trials:
        data: dict[str, Any] = {"trial": spec.model_dump(exclude_defaults=True, exclude={"trial_id"})}
        data |= {"drawn": drawn} if drawn else {}
        log.append("proposed", trial_id=spec.trial_id, **data)


class TrialQueue:
    """Which trial is trained next: those that were begun and have not ended, then what the proposer thinks of.

    Args:
        attempts: of the sweep.
        proposer: made from the same state.
        admits: how many trials may still be begun (`omsweep.plan.budget.admitted`); those that were are finished.
        stopping: the rule that ends trials on their way, made from the same state; None: all run to their end.
        apart: whether one job trains a trial and another scores it.
    """

    def __init__(
        self,
        attempts: Attempts,
        proposer: Proposer,
        admits: Callable[[], float] = lambda: math.inf,
        stopping: Stopping | None = None,
        *,
        apart: bool = False,
    ) -> None:
        self.attempts = attempts
        self._proposer, self._stopping, self._apart = proposer, stopping, apart
        self._admits = admits
        begun = [one for one in attempts.log.state.proposed() if one.outcome is None]
        trained = [one for one in begun if one.fields.get("kind", "trained") == "trained"]
        waiting = [one.trial_id for one in trained if not one.is_paused]
        self._waiting = deque(sorted(waiting, key=lambda one: self._part(one) != "score"))
        self._paused = {one.trial_id: None for one in trained if one.is_paused}
        """Trials that wait at a rung and hold nothing, in the order in which they came."""
        self._running: dict[str, Job] = {}
        self._alone: str | None = None
        self._paused_until = 0.0

    def next(
        self,
        fits: Callable[[TrialSpec], bool] = lambda spec: True,
        room: Callable[[], bool] = lambda: True,
        ahead: int = 1,
    ) -> Job | None:
        """What to start now; None where nothing can be started before something else ends, or there is more room.

        Args:
            fits: whether a trial could start now.
            room: whether any trial could: where none can, none is thought of, since a search may know more by then.
            ahead: how many trials may be thought of that wait for room.
        """
        if self._alone is not None or time.monotonic() < self._paused_until:
            return None
        may_start, more = self._admitted()
        if not self._to_train(may_start) and room() and self._resume(more=more > 0 and bool(self._proposer.left())):
            may_start, more = self._admitted()
        waits = [one for one in may_start if not self._must_be_alone(one)]
        for trial_id in waits:
            if fits(self._spec(trial_id)):
                self._waiting.remove(trial_id)
                return self._starting(trial_id)
        while len(self._to_train(waits)) < ahead and more > 0 and self._proposer.left() and room():
            proposal, more = self._proposer.next(), more - 1
            assert proposal is not None, "there are some left"
            self.attempts.propose(self._with_rungs(proposal.spec), proposal.drawn)
            if fits(proposal.spec):
                return self._starting(proposal.spec.trial_id)
            waits.append(proposal.spec.trial_id)
            self._waiting.append(proposal.spec.trial_id)
        alone = bool(may_start) and not (waits or self._running or (more > 0 and self._proposer.left()))
        if alone and fits(self._spec(may_start[0])):
            self._alone = may_start[0]
            self._waiting.remove(self._alone)
            return self._starting(self._alone)
        return None

    @property
    def running(self) -> list[TrialSpec]:
        """What runs."""
        return [job.spec for job in self._running.values()]

    def scores(self, trial: TrialIdentity) -> bool:
        """Whether the job of a trial, the one that runs or else the next, only scores it."""
        job = self._running.get(trial.trial_id)
        return (self._part(trial.trial_id) if job is None else job.part) == "score"

    def left(self) -> Mapping[str, int]:
        """How many jobs are still to be started, by family and `scoring`; nothing of trials that are not admitted."""
        may_start, more = self._admitted()
        left = Counter(self._counted(one) for one in may_start)
        for family, count in self._proposer.left().items():
            left[family] += (taken := int(min(count, more)))
            more -= taken
        return +left

    @property
    def epoch(self) -> int:
        """Counts the drivers that this sweep has had."""
        return self.attempts.log.epoch

    @property
    def finished(self) -> bool:
        """Whether nothing is left to start and nothing runs."""
        return not (self._running or self.left() or self._paused)

    def start(self, job: Job, accelerator: str | None = None, cpus: float = 0.0, gpus: float = 0.0) -> None:
        """Note that a job runs, see `Attempts.start`."""
        self.attempts.start(job, accelerator, cpus, gpus)

    def reach(self, trial_id: str, rung: Rung) -> bool:
        """Note what a job scored at a rung; whether it goes on."""
        assert self._stopping is not None, "without a rule there are no rungs"
        decision = self._stopping.decide(trial_id, self._spec(trial_id).family, rung)
        self.attempts.note_rung(trial_id, rung, decision)
        return decision.verdict == "go on"

    def end(self, trial_id: str, outcome: Outcome) -> None:
        """Note how a job ended, or that its trial waits."""
        trained = outcome.reason == TRAINED
        paused = outcome.state == "stopped" and self.attempts.log.state.trials[trial_id].is_paused
        if trained:
            self.attempts.hand_over(trial_id, outcome)
        elif paused:
            self.attempts.pause(trial_id)
        final = not (trained or paused) and self.attempts.end(trial_id, outcome)
        self._running.pop(trial_id, None)
        self._alone = None if self._alone == trial_id else self._alone
        if final:
            self._tell(trial_id)
        elif trained:
            self._waiting.appendleft(trial_id)  # first: what searches waits for its scores
        elif self.attempts.log.state.trials[trial_id].is_paused:
            self._paused[trial_id] = None
        else:
            self._waiting.append(trial_id)
            self._paused_until = time.monotonic() + AGAIN[str(outcome.reason)].pause

    def _tell(self, trial_id: str) -> None:
        ended = self.attempts.state_of(trial_id)
        assert ended is not None
        self._proposer.tell(trial_id, ended.outcome)
        if self._stopping is not None:
            self._stopping.tell(trial_id, ended.outcome)

    def _resume(self, *, more: bool) -> bool:
        """Let the paused trial go on whose turn it is; where it will be nobody's any more, all of them are stopped.

        Args:
            more: whether trials are still to be begun.
        """
        if not self._paused or self._stopping is None:
            return False
        trials = self.attempts.log.state.trials
        for family in sorted({str(trials[one].fields["family"]) for one in self._paused}):
            found = self._stopping.resume(family, more=more)
            if found is not None:
                self.attempts.resume(*found)
                del self._paused[found.trial_id]
                self._waiting.append(found.trial_id)
                return True
        if not (more or self._running):
            for trial_id in list(self._paused):
                rung = trials[trial_id].rungs[-1]
                self.attempts.end(trial_id, Outcome(state="stopped", steps=rung.step, reward=rung.reward, tax=rung.tax))
                del self._paused[trial_id]
                self._tell(trial_id)
        return False

    def _admitted(self) -> tuple[list[str], float]:
        """Of the trials that wait those that may start, and how many more may be thought of."""
        trials = self.attempts.log.state.trials
        more = self._admits() - sum(trials[one].attempt == 0 for one in self._running)
        may_start = []
        for trial_id in self._waiting:
            new = trials[trial_id].attempt == 0
            if more > 0 or not new:
                may_start.append(trial_id)
                more -= new
        return may_start, max(0, more)

    def _starting(self, trial_id: str) -> Job:
        job = self._running[trial_id] = self.attempts.job(trial_id)._replace(part=self._part(trial_id))
        return job

    def _part(self, trial_id: str) -> Part:
        """What the next job of a trial does."""
        if not self._apart:
            return "whole"
        return "train" if self.attempts.log.state.trials[trial_id].trained is None else "score"

    def _to_train(self, waits: Sequence[str]) -> list[str]:
        return [one for one in waits if self._part(one) != "score"]

    def _counted(self, trial_id: str) -> str:
        family = str(self.attempts.log.state.trials[trial_id].fields["family"])
        return scoring(family) if self._part(trial_id) == "score" else family

    def _with_rungs(self, spec: TrialSpec) -> TrialSpec:
        with suppress(ValueError):  # settings that no trainer takes are the trial's failure
            if self._stopping is not None:
                return spec.model_copy(update={"rungs": self._stopping.rungs(spec), "pauses": self._stopping.pauses})
        return spec

    def _spec(self, trial_id: str) -> TrialSpec:
        return self.attempts.log.state.trials[trial_id].spec

    def _must_be_alone(self, trial_id: str) -> bool:
        trial = self.attempts.state_of(trial_id)
        return trial is not None and any(AGAIN[one.reason].alone for one in trial.lost if one.reason in AGAIN)
