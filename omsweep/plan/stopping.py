"""Which trials of a search are stopped before their end: multi-objective successive halving. Ray-free, torch-free.

Asynchronous successive halving (ASHA; Li et al., arXiv:1810.05934) with non-dominated sorting in place of one metric
(MO-ASHA; Schmucker et al., arXiv:2106.12639), written from the definition. Of the trials of a family that have reached
a rung so far the best 1/eta go on. Here a trial outside of them is stopped only if it is beaten beyond noise, too
(`omsweep.plan.rungs`), and some, drawn by hash, never are: they show how well a rung tells the end.

A decision follows from what the log holds: the same events before it, the same decision.
"""

import hashlib
import math
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from omsweep.align.settings import train_settings_from
from omsweep.evaluation.settings import EvaluateSettings
from omsweep.plan.rungs import Arrivals, rank_correlation
from omsweep.space.samples import edge_samples
from omsweep.space.schema import Scheduler
from omsweep.space.search_space import SearchSpace
from omsweep.store.records import TrialSpec
from omsweep.store.state import Rung, SweepState

Verdict = Literal["go on", "stop", "pause"]
MEDIAN_FROM = 3
"""Trials at a rung from which on the median rule stops one."""


class Decision(NamedTuple):
    """What becomes of a trial at a rung, and why in one line."""

    verdict: Verdict
    why: str

    @property
    def stop(self) -> bool:
        """Whether the trial ends here."""
        return self.verdict == "stop"


class Correlation(NamedTuple):
    """How well a rung tells the end: Spearman's over `trials` that ran to it unselected; None for fewer than three."""

    value: float | None
    trials: int


class Paused(NamedTuple):
    """A trial that goes on after all, from its rung `level` on."""

    trial_id: str
    level: int
    why: str


def rungs_of(scheduler: Scheduler, steps: int, gap_steps: int = 1) -> tuple[tuple[int, int], ...]:
    """Level and step of each rung of a trial, `first_rung` x eta^level.

    A rung lies on the next step at which the trial merges, so that nothing is pending; of rungs that come to lie on one
    step the last counts. Rungs at or after the last step are none: there the trial is scored anyway.

    Args:
        scheduler: the rule; `none` has no rungs.
        steps: optimizer steps of the trial.
        gap_steps: steps between its merges.
    """
    if scheduler.algorithm == "none":
        return ()
    levels: dict[int, int] = {}
    level, nominal = 0, scheduler.first_rung
    while nominal < steps:
        levels[-(-nominal // gap_steps) * gap_steps] = level
        level, nominal = level + 1, nominal * scheduler.eta
    return tuple((level, step) for step, level in levels.items() if step < steps)


def items_at(scheduler: Scheduler, level: int, limit: int | None) -> int | None:
    """Items of each task, and prompts, that a rung scores: nested subsets that grow by eta; None for all.

    Args:
        scheduler: the rule.
        level: of the rung.
        limit: `evaluate.limit`.
    """
    if scheduler.items is None:
        return limit
    items = scheduler.items * scheduler.eta**level
    return items if limit is None else min(items, limit)


def rung_limits(space: SearchSpace) -> tuple[int | None, ...]:
    """What `items_at` says of every rung that some trial of a space may come to."""
    steps = max(sample.get("steps", space.file.train.steps) for sample in edge_samples(space))
    rule, limit = space.file.scheduler, space.evaluate.limit
    return tuple(dict.fromkeys(items_at(rule, level, limit) for level, _ in rungs_of(rule, steps)))


class Stopping:
    """Decides at rungs; made anew from the state a sweep goes on from.

    Args:
        space: of the search.
        state: what has happened.
    """

    def __init__(self, space: SearchSpace, state: SweepState | None = None) -> None:
        self._rule, self._seed = space.file.scheduler, space.search.seed
        worst = space.file.objectives.reference_point
        self._objectives = space.file.objectives
        self._reference_point = (worst.tax, -worst.reward)
        self._rungs: dict[tuple[str, int], Arrivals] = {}
        self._decided: dict[tuple[str, int], Decision] = {}
        self._paused: dict[tuple[str, int], set[int]] = {}
        self._kept: dict[str, tuple[str, dict[int, Rung]]] = {}
        """Trials that are never stopped and not done: family and rungs."""
        self._pairs: dict[tuple[str, int], list[tuple[Rung, Rung]]] = {}
        """Of those that are done, in that order: what they scored at a rung and at the end."""
        self._known: dict[tuple[str, int], Correlation] = {}
        trials = {} if state is None else state.trials
        arrived = [(rung.arrived, trial) for trial in trials.values() for rung in trial.rungs]
        for seq, trial in sorted(arrived, key=lambda one: one[0]):
            (rung,) = (one for one in trial.rungs if one.arrived == seq)
            if rung.decision == "pause" and trial.outcome is not None:
                rung = rung._replace(decision="stop")  # it was not its turn before the sweep ended
            self._note(trial.trial_id, str(trial.fields["family"]), rung)
        for trial in () if state is None else state.ended():
            self.tell(trial.trial_id, trial.outcome)

    @property
    def pauses(self) -> bool:
        """Whether trials pause at rungs (`variant: promote`)."""
        return self._rule.algorithm == "moasha" and self._rule.variant == "promote"

    def rungs(self, spec: TrialSpec) -> tuple[tuple[int, int, int | None], ...]:
        """Where a trial is scored on its way, as its spec says it; ValueError for settings that no trainer takes."""
        settings = train_settings_from(spec.train or {})
        limit = EvaluateSettings(**spec.evaluate).limit
        levels = rungs_of(self._rule, settings.steps, settings.merge.gap_steps)
        return tuple((level, step, items_at(self._rule, level, limit)) for level, step in levels)

    def decide(self, trial_id: str, family: str, rung: Rung) -> Decision:
        """What becomes of a trial that has reached a rung; of one that was there before what was decided then.

        A trial whose scores are no numbers goes on and counts for nobody.
        """
        known = self._decided.get((trial_id, rung.level))
        if known is not None:
            return known
        if not math.isfinite(rung.reward + rung.tax + sum(rung.constraints)):
            return Decision("go on", "its scores are no numbers")
        index = self._add(trial_id, family, rung)
        decision = self._decision(trial_id, family, rung.level, index)
        self._keep(trial_id, family, rung.level, index, decision)
        return decision

    def tell(self, trial_id: str, outcome: Mapping[str, Any] | None) -> None:
        """How a trial ended: fields of its outcome."""
        kept = self._kept.get(trial_id)
        if outcome is None or kept is None or outcome.get("state") != "completed":
            return
        reward, tax = (outcome.get(name) for name in (self._objectives.reward, self._objectives.tax))
        if reward is None or tax is None or not math.isfinite(reward + tax):
            return
        noise = (outcome.get("reward_se_items") or 0.0,)  # for whether it has learnt
        end = Rung(level=-1, step=0, reward=reward, tax=tax, reward_noise=noise, tax_noise=())
        family, rungs = self._kept.pop(trial_id)
        for level, rung in rungs.items():
            self._pairs.setdefault((family, level), []).append((rung._replace(constraints=()), end))

    def correlation(self, family: str, level: int) -> Correlation:
        """How well a rung tells the end, over the trials that are never stopped and are done.

        Spearman's rank correlation between the rule's order of these trials at the rung and at the end. Nobody selected
        them, so that it is not that of survivors. Of 32 and more it is taken anew when another sixteenth has come.
        """
        key = family, level
        pairs = self._pairs.get(key, [])
        grain = max(0, len(pairs).bit_length() - 5)
        count = len(pairs) >> grain << grain
        if self._known.get(key, Correlation(None, -1)).trials != count:
            here, there = [pair[0] for pair in pairs[:count]], [pair[1] for pair in pairs[:count]]
            value = rank_correlation(here, there, self._rule.noise, self._reference_point)
            self._known[key] = Correlation(value, count)
        return self._known[key]

    def is_off(self, family: str, level: int) -> bool:
        """Whether a rung has turned out to tell too little of the end to stop anybody there."""
        value, trials = self.correlation(family, level)
        return value is not None and trials >= self._rule.min_trials and value < self._rule.min_correlation

    def resume(self, family: str, *, more: bool) -> Paused | None:
        """The paused trial that is to go on next, which then counts as going on (`variant: promote`).

        From the highest rung down the best of the whole 1/eta that has reached it. Once there are no more trials to
        start, also whoever is not beaten beyond noise.

        Args:
            family: of the trials.
            more: whether trials are still to be started.
        """
        for everyone in (False,) if more else (False, True):
            for level in sorted((one for name, one in self._paused if name == family), reverse=True):
                key = family, level
                arrivals, paused = self._rungs[key], self._paused[key]
                best = arrivals.order()[: None if everyone else len(arrivals.names) // self._rule.eta].tolist()
                for place, index in enumerate(best if paused else ()):
                    if index in paused and not (everyone and arrivals.beaten(index)):
                        paused.remove(index)
                        why = f"place {place + 1} of {len(arrivals.names)}{', not beaten beyond noise' * everyone}"
                        self._decided[arrivals.names[index], level] = Decision("go on", why)
                        return Paused(arrivals.names[index], level, why)
        return None

    def _decision(self, trial_id: str, family: str, level: int, index: int) -> Decision:
        rule, arrivals = self._rule, self._rungs[family, level]
        count = len(arrivals.names)
        if trial_id in self._kept:
            return Decision("go on", f"never stopped: one of the {rule.never_stop:.0%} that show what a rung tells")
        if self.is_off(family, level):
            value, trials = self.correlation(family, level)
            return Decision(
                "go on",
                f"stopping is off at this rung: its order and that of the end correlate by {value:.2f} over {trials}"
                f" trials, below {rule.min_correlation:g}",
            )
        if rule.algorithm == "median":
            beyond = count >= MEDIAN_FROM and arrivals.above_median(index)
            return Decision("stop" if beyond else "go on", f"{'' if beyond else 'not '}worse than both medians")
        if rule.variant == "promote":
            place = arrivals.place(index)
            return Decision("go on" if place < count // rule.eta else "pause", f"place {place + 1} of {count}")
        beaten = arrivals.beaten(index)
        if beaten is None:  # asked first: it is the cheaper question
            return Decision("go on", f"not beaten beyond noise by any of {count}")
        where = f"place {(place := arrivals.place(index)) + 1} of {count}"
        if place < -(-count // rule.eta):
            return Decision("go on", where)
        by = "the SFT model" if beaten.by is None else arrivals.names[beaten.by]
        return Decision("stop", f"{where}; {by} {beaten.why}")

    def _note(self, trial_id: str, family: str, rung: Rung) -> None:
        """A rung that was decided on before."""
        decision = Decision(rung.decision, rung.why)  # type: ignore[arg-type]
        if math.isfinite(rung.reward + rung.tax + sum(rung.constraints)):
            self._keep(trial_id, family, rung.level, self._add(trial_id, family, rung), decision)

    def _add(self, trial_id: str, family: str, rung: Rung) -> int:
        if _drawn(self._seed, family, trial_id) < self._rule.never_stop:
            self._kept.setdefault(trial_id, (family, {}))[1][rung.level] = rung
        arrivals = Arrivals(self._rule.noise, self._reference_point)
        return self._rungs.setdefault((family, rung.level), arrivals).add(trial_id, rung)

    def _keep(self, trial_id: str, family: str, level: int, index: int, decision: Decision) -> None:
        self._decided[trial_id, level] = decision
        if decision.verdict == "pause":
            self._paused.setdefault((family, level), set()).add(index)


def _drawn(seed: int, family: str, trial_id: str) -> float:
    """A number in [0, 1) that depends on these alone."""
    digest = hashlib.sha256(f"never stop/{seed}/{family}/{trial_id}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64
