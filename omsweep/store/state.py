"""What the events of a sweep add up to: a pure fold, one event at a time, whose cost does not grow with the sweep.

`KINDS` is the list of what can happen. An event of a kind that is not in it, from a newer omsweep, changes nothing.
Imports neither torch nor Ray.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, NamedTuple

import numpy as np
from immutables import Map

from omsweep.pareto.volume import hypervolume
from omsweep.store.events import Event, collection_paused
from omsweep.store.former import data_key
from omsweep.store.records import Ended, Prepared, TrialIdentity, TrialRecord, TrialSpec
from omsweep.store.used import Holding, Used

Phase = Literal["proposed", "started", "trained", "paused", "ended"]
SCORED = ("completed", "stopped")
"""States of a trial that has scores; those of a stopped one are of its last rung, and of no policy that was kept."""
Changes = dict[str, Any]
"""Fields of a `SweepState` that an event gives other values."""


class Lost(NamedTuple):
    """An attempt that ended without a result: under which driver, why, in one line, and the file with the traceback."""

    attempt: int
    epoch: int
    reason: str
    error: str
    traceback: str | None


class Rung(NamedTuple):
    """What a copy of a trial's policy scored on its way, and what was decided on it (`omsweep.plan.stopping`).

    Attributes:
        level: number of the rung, from 0.
        step: optimizer steps it was scored after.
        reward, tax: gain and loss over the SFT model, on the rung's items.
        reward_noise, tax_noise: what groups of items add to the errors of both
            (`omsweep.evaluation.statistics.rung_noise`).
        constraints: one number each, kept where it is at most 0.
        decision: `go on`, `stop` or `pause`.
        why: in one line.
        arrived: `seq` of its event.
    """

    level: int
    step: int
    reward: float
    tax: float
    reward_noise: tuple[float, ...]
    tax_noise: tuple[float, ...]
    constraints: tuple[float, ...] = ()
    decision: str = ""
    why: str = ""
    arrived: int = 0

    def to_json(self) -> dict[str, Any]:
        """The data of its event."""
        return {name: value for name, value in self._asdict().items() if name != "arrived"}


class TrialState(NamedTuple):
    """One trial so far.

    Attributes:
        fields: of its `TrialSpec`.
        proposed: `seq` of its proposal; the order in which trials were thought of.
        drawn: what the searcher has to know of the proposal, None in a design.
        phase: how far it is.
        attempt: how often it was started.
        started: Unix time of the last start.
        since: Unix time at which its phase began.
        stepped: Unix time of the first losses of this attempt; None before.
        loss: of the last step whose loss is known; None where it is not finite.
        accelerator_type: kind of accelerator that an attempt was bound to last, in Ray's words.
        steps: optimizer steps whose loss is known.
        rungs: at which it was scored, in that order.
        trained: what its training gave (fields of an `Outcome`), while it is not ended.
        lost: attempts that ended without a result.
        outcome: how it ended (fields of `omsweep.store.records.Ended`).
        ended: `seq` of its end.
        traceback: file with the traceback of its end.
        report: numbers on the report split that were measured after its end, named as on the search split.
        added: numbers of rewards that were added after its end, as in `rewards` of its record.
        run_id: of its MLflow run.
    """

    fields: Mapping[str, Any]
    proposed: int
    drawn: Mapping[str, Any] | None = None
    phase: Phase = "proposed"
    attempt: int = 0
    started: float | None = None
    since: float = 0.0
    stepped: float | None = None
    loss: float | None = None
    accelerator_type: str | None = None
    steps: int = 0
    rungs: tuple[Rung, ...] = ()
    trained: Mapping[str, Any] | None = None
    lost: tuple[Lost, ...] = ()
    outcome: Mapping[str, Any] | None = None
    ended: int = 0
    traceback: str | None = None
    report: Mapping[str, Any] | None = None
    added: Mapping[str, Any] = Map()
    run_id: str | None = None

    @property
    def trial_id(self) -> str:
        """Its name."""
        return str(self.fields["trial_id"])

    @property
    def spec(self) -> TrialSpec:
        """What it was to do."""
        return TrialSpec(**{**self.fields, "data": data_key(self.fields.get("data", ""))})

    @property
    def is_paused(self) -> bool:
        """Whether it waits at a rung to be among the best, in a process or without one."""
        return self.outcome is None and bool(self.rungs) and self.rungs[-1].decision == "pause"

    @property
    def record(self) -> TrialRecord:
        """The record of a trial that ended."""
        assert self.outcome is not None, f"{self.trial_id} has not ended"
        identity = {name: value for name, value in self.fields.items() if name in TrialIdentity.model_fields}
        own = {"attempts": max(1, self.attempt), "mlflow_run_id": self.run_id}
        known = {name: value for name, value in self.outcome.items() if name in Ended.model_fields}
        if self.added:
            known["rewards"] = {**self.added, **known.get("rewards", {})}  # what was measured at its end stays
        return TrialRecord(**{**identity, **known, **own})


class Member(NamedTuple):
    """A trial on its family's front; losses are minimised."""

    tax_loss: float
    reward_loss: float
    trial_id: str


SFT_MODEL = Member(0.0, 0.0, "SFT model")
"""What every front is measured against: reward and tax are gain and loss over it, so that it has neither."""


class SweepState(NamedTuple):
    """All that is known of a sweep.

    Attributes:
        seq, epoch, time: of the last event.
        created: data of the event that created it, `created` its Unix time; empty before.
        prepared: data of every family that was made ready, by `omsweep.store.state.family_key`.
        trials: by id.
        counts: how many trials ended in which state.
        fronts: by family, sorted by tax: trials that neither another trial nor the SFT model beats.
        run_id: of the sweep's MLflow run.
        closed: how the last driver left it: `completed`, `failed`, `interrupted`; None while one is at work, or after
            one that was killed.
        reclaimed: bytes that were freed by removing what is no longer needed.
        driver: versions and git revision that the last driver was started with.
        began: Unix time at which the driver began that wrote the last event; None before it did.
        spent: which budget was used up, data of the last event of that kind; empty where it was raised since.
        used: by drivers that are gone and by attempts that ended; `used_until` has all.
        holding: attempts that run, by trial id.
        rewards_added: settings of the rewards that were added to trials after their end, by name.
    """

    seq: int = 0
    epoch: int = 0
    time: float = 0.0
    created: Mapping[str, Any] = Map()
    prepared: Map[str, Mapping[str, Any]] = Map()
    trials: Map[str, TrialState] = Map()
    counts: Map[str, int] = Map()
    fronts: Map[str, tuple[Member, ...]] = Map()
    run_id: str | None = None
    closed: str | None = None
    reclaimed: int = 0
    driver: Mapping[str, Any] = Map()
    began: float | None = None
    spent: Mapping[str, Any] = Map()
    used: Used = Used()
    holding: Map[str, Holding] = Map()
    rewards_added: Map[str, Mapping[str, Any]] = Map()

    @property
    def resolved(self) -> Mapping[str, Any]:
        """The resolved search space."""
        return self.created.get("resolved", {})

    def used_until(self, now: float) -> Used:
        """What was used until a time (Unix), by the driver that is at work and by attempts that run too."""
        used = self.used
        for one in self.holding.values():
            used = used.and_held(one, now)
        return used._replace(wall_seconds=used.wall_seconds + (0.0 if self.began is None else now - self.began))

    def ended(self) -> list[TrialState]:
        """Trials that ended, in that order."""
        return sorted((one for one in self.trials.values() if one.ended), key=lambda one: one.ended)

    def records(self) -> list[TrialRecord]:
        """Records of the trials that ended, in that order."""
        return [one.record for one in self.ended()]

    def proposed(self) -> list[TrialState]:
        """All trials in the order they were proposed."""
        return sorted(self.trials.values(), key=lambda one: one.proposed)

    def report_scores(self) -> dict[str, Mapping[str, Any]]:
        """Numbers on the report split that were measured after the end, by trial id."""
        return {one.trial_id: one.report for one in self.trials.values() if one.report is not None}

    def added(self, trial_id: str) -> Mapping[str, Any]:
        """Numbers of rewards that were added to a trial after its end."""
        return self.trials[trial_id].added

    def references(self) -> dict[str, Mapping[str, Any]]:
        """What each SFT model scored, by `family_key`."""
        return {key: data["reference"] for key, data in self.prepared.items()}

    def hypervolumes(self) -> dict[str, float]:
        """By family of a trial that ended; the SFT model counts as a point of each front."""
        reference = _reference_losses(self.resolved)
        return {
            family: hypervolume([one[:2] for one in (SFT_MODEL, *members)], reference)
            for family, members in sorted(self.fronts.items())
        }


@collection_paused()
def fold(events: Iterable[Event], state: SweepState | None = None) -> SweepState:
    """The state after more events."""
    state = SweepState() if state is None else state
    for event in events:
        state = apply(state, event)
    return state


def apply(state: SweepState, event: Event) -> SweepState:
    """The state after one more event; of a trial whose proposal was damaged and left out, nothing is known."""
    if event.epoch != state.epoch:  # what the last driver left running ended with its last event
        state = state._replace(used=state.used_until(state.time), holding=Map(), began=None)
    change = KINDS.get(event.kind)
    unknown = event.trial_id is not None and event.trial_id not in state.trials and change is not _proposed
    changes = {} if change is None or unknown else change(state, event)
    return state._replace(seq=event.seq, epoch=event.epoch, time=event.time, **changes)


def family_key(family: str, sft_seed: int | None) -> str:
    """`family`, or `family#sft_seed` where a sweep has several SFT models of it."""
    return family if sft_seed is None else f"{family}#{sft_seed}"


def _created(state: SweepState, event: Event) -> Changes:
    return {"created": {**event.data, "created": event.time}}


def _changed(state: SweepState, event: Event) -> Changes:
    """Counts that grew (`resolved`), or failed trials that are tried again (`retry`)."""
    trials, counts, created, spent = state.trials, state.counts, state.created, state.spent
    if "resolved" in event.data:
        created = {**created, "resolved": event.data["resolved"]}
        spent = spent if created["resolved"].get("budget") == state.resolved.get("budget") else Map()
    for trial_id in event.data.get("retry", ()):
        trial = trials.get(trial_id)
        if trial is not None and trial.outcome is not None and trial.outcome["state"] not in SCORED:
            counts = _counted(counts, trial.outcome["state"], -1)
            again = trial._replace(phase="proposed", outcome=None, ended=0, traceback=None, steps=0, added=Map())
            trials = trials.set(trial_id, again)
    return {"trials": trials, "counts": counts, "created": created, "spent": spent, "closed": None}


def _prepared(state: SweepState, event: Event) -> Changes:
    key = family_key(event.data["family"], event.data.get("sft_seed"))
    return {"prepared": state.prepared.set(key, event.data)}


def _proposed(state: SweepState, event: Event) -> Changes:
    fields = {**event.data["trial"], "trial_id": event.trial_id}
    trial = TrialState(fields=fields, proposed=event.seq, drawn=event.data.get("drawn"))
    return {"trials": state.trials.set(trial.trial_id, trial)}


def _started(state: SweepState, event: Event) -> Changes:
    bound, trial_id = {k: v for k, v in event.data.items() if k == "accelerator_type"}, str(event.trial_id)
    trial = state.trials[trial_id]
    new = trial.attempt == 0 and trial.fields.get("kind", "trained") == "trained"
    held = Holding(event.time, event.data.get("cpus", 0.0), event.data.get("gpus", 0.0))
    return {
        **_trial(state, event, phase="started", attempt=event.attempt or 1, started=event.time, stepped=None, **bound),
        "used": state.used._replace(trials=state.used.trials + new),
        "holding": state.holding.set(trial_id, held),
    }


def _progress(state: SweepState, event: Event) -> Changes:
    losses, stepped = event.data["losses"], state.trials[str(event.trial_id)].stepped or event.time
    return _trial(
        state,
        event,
        steps=event.data["first_step"] + len(losses) - 1,
        loss=losses[-1] if losses and math.isfinite(losses[-1] or 0.0) else None,
        stepped=stepped,
    )


def _rung(state: SweepState, event: Event) -> Changes:
    """Scores at a rung and what was decided; a second event of a rung says what was decided since."""
    found = {name: event.data[name] for name in Rung._fields if name in event.data}
    found |= {name: tuple(value) for name, value in found.items() if isinstance(value, list)}
    found |= {name: math.nan for name, value in found.items() if value is None}
    rungs = {one.level: one for one in state.trials[str(event.trial_id)].rungs}
    known = rungs.get(found["level"])
    rungs[found["level"]] = Rung(arrived=event.seq, **found) if known is None else known._replace(**found)
    return _trial(state, event, rungs=tuple(rungs.values()))


def _paused(state: SweepState, event: Event) -> Changes:
    return {**_trial(state, event, phase="paused"), **_given_back(state, event)}


def _trained(state: SweepState, event: Event) -> Changes:
    return _trial(state, event, phase="trained", trained=event.data["outcome"])


def _lost(state: SweepState, event: Event) -> Changes:
    data = event.data
    lost = Lost(event.attempt or 1, event.epoch, data["reason"], data["error"], data.get("traceback"))
    before = state.trials[str(event.trial_id)].lost
    return {**_trial(state, event, phase="proposed", lost=(*before, lost)), **_given_back(state, event)}


def _ended(state: SweepState, event: Event) -> Changes:
    trial = state.trials[str(event.trial_id)]
    if trial.outcome is not None:
        return {}
    outcome, family = event.data["outcome"], str(trial.fields["family"])
    front, losses = state.fronts.get(family, ()), _losses(outcome, state.resolved)
    if losses is not None:
        front = _with(front, Member(*losses, trial.trial_id))
    ended = {"outcome": outcome, "ended": event.seq, "traceback": event.data.get("traceback")}
    return {
        **_trial(state, event, phase="ended", trained=None, **ended),
        **_given_back(state, event),
        "counts": _counted(state.counts, outcome["state"], 1),
        "fronts": state.fronts.set(family, front),
    }


def _scored(state: SweepState, event: Event) -> Changes:
    return _trial(state, event, report=event.data["numbers"]) if event.data["split"] == "report" else {}


def _rewarded(state: SweepState, event: Event) -> Changes:
    """A reward that was added to a trial after its end (`omsweep evaluate --add-reward`)."""
    reward, trial = event.data["reward"], state.trials[str(event.trial_id)]
    return {
        **_trial(state, event, added={**trial.added, **event.data["numbers"]}),
        "rewards_added": state.rewards_added.set(reward["name"], reward),
    }


def _tracked(state: SweepState, event: Event) -> Changes:
    run_id = event.data["run_id"]
    return {"run_id": run_id} if event.trial_id is None else _trial(state, event, run_id=run_id)


def _reclaimed(state: SweepState, event: Event) -> Changes:
    """Files that were removed: a trial's training state, or its policy, which its record then no longer names."""
    freed: Changes = {"reclaimed": state.reclaimed + event.data["bytes"]}
    trial = state.trials.get(str(event.trial_id))
    if event.data.get("what") == "policy" and trial is not None and trial.outcome is not None:
        freed |= _trial(state, event, outcome={**trial.outcome, "policy_path": None})
    return freed


def _driver(state: SweepState, event: Event) -> Changes:
    began = {"driver": event.data, "began": event.time} if event.data.get("did") == "started" else {}
    return {"closed": event.data.get("closed"), **began}


def _spent(state: SweepState, event: Event) -> Changes:
    return {"spent": event.data}


KINDS: Mapping[str, Callable[[SweepState, Event], Changes]] = {
    "created": _created,
    "changed": _changed,
    "prepared": _prepared,
    "proposed": _proposed,
    "started": _started,
    "progress": _progress,
    "rung": _rung,
    "paused": _paused,
    "trained": _trained,
    "lost": _lost,
    "ended": _ended,
    "scored": _scored,
    "rewarded": _rewarded,
    "tracked": _tracked,
    "reclaimed": _reclaimed,
    "driver": _driver,
    "spent": _spent,
}


def _trial(state: SweepState, event: Event, **changes: Any) -> Changes:
    trial_id = str(event.trial_id)
    since: Changes = {"since": event.time} if "phase" in changes else {}
    return {"trials": state.trials.set(trial_id, state.trials[trial_id]._replace(**since, **changes))}


def _given_back(state: SweepState, event: Event) -> Changes:
    """What an attempt held counts as used, once it has ended."""
    held = state.holding.get(str(event.trial_id))
    if held is None:
        return {}
    return {"used": state.used.and_held(held, event.time), "holding": state.holding.delete(str(event.trial_id))}


def _counted(counts: Map[str, int], state: str, by: int) -> Map[str, int]:
    count = counts.get(state, 0) + by
    return counts.set(state, count) if count else counts.delete(state)


def _with(front: tuple[Member, ...], new: Member) -> tuple[Member, ...]:
    """A front and one more trial, where neither another nor the SFT model beats it; what it beats goes, equals stay."""
    if any(_beats(one, new) for one in (SFT_MODEL, *front)):
        return front
    kept = [one for one in front if not _beats(new, one)]
    return tuple(sorted([*kept, new], key=lambda one: (one.tax_loss, one.reward_loss)))


def _beats(one: Member, other: Member) -> bool:
    a, b = (one.tax_loss, one.reward_loss), (other.tax_loss, other.reward_loss)
    return a != b and a[0] <= b[0] and a[1] <= b[1]


def _losses(outcome: Mapping[str, Any], resolved: Mapping[str, Any]) -> tuple[float, float] | None:
    """(tax, reward) as losses; None of a trial that was not scored at its end."""
    asked = resolved.get("objectives") or {}
    tax, reward = (outcome.get(name) for name in (asked.get("tax", "tax"), asked.get("reward", "reward")))
    if outcome["state"] != "completed" or tax is None or reward is None:
        return None
    losses = float(tax), -float(reward)
    return losses if math.isfinite(sum(losses)) else None


def _reference_losses(resolved: Mapping[str, Any]) -> np.ndarray:
    point = (resolved.get("objectives") or {}).get("reference_point") or {}
    return np.array([float(point.get("tax", 20.0)), -float(point.get("reward", 0.0))])


def prepared_of(data: Mapping[str, Any]) -> Prepared:
    """What trials start from, of an event `prepared`."""
    return Prepared(**data["models"])
