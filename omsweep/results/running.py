"""What a sweep does now: trials at work with the time they have left, what waits for what, and what stopping saved.

All of it follows from the log. Times left are those of the family's trials that ended last (`paces`); nothing is said
of a family of which none has.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Literal, NamedTuple

from omsweep.results.numbers import is_number
from omsweep.results.objectives import Objectives
from omsweep.store.state import SweepState, TrialState

LAST = 20
"""Of so many trials of a family that ended last the median is taken."""
SPENT = "for a larger budget"
Doing = Literal["starting", "training", "scoring at a rung", "scoring", "merging", "paused at a rung"]


@dataclass(frozen=True, kw_only=True)
class Working:
    """A trial at work.

    Attributes:
        trial_id, family, attempt: which it is.
        phase: what it does; `paused at a rung` is one that keeps its workers there.
        step, steps: optimizer steps that are known of, and how many it has; None of a merged point.
        loss: of that step; None before the first.
        seconds: since the attempt began.
        seconds_left: as long as others of its family took, 0 where it has taken longer; None where none is known.
    """

    trial_id: str
    family: str
    attempt: int
    phase: Doing
    step: int | None
    steps: int | None
    loss: float | None
    seconds: float
    seconds_left: float | None


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """Trials that wait for the same: `trial_ids` of those that the log knows, `count` of all."""

    why: str
    count: int
    trial_ids: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class Savings:
    """What stopping has saved: of `steps_planned` of the trials that ended, `steps` of the `trials` that were stopped.

    `seconds` of training is what these steps would have taken, None where no trial tells.
    """

    trials: int
    steps: int
    steps_planned: int
    seconds: float | None


@dataclass(frozen=True, kw_only=True)
class Pace:
    """How long trials of a family take: medians in seconds, None where none tells."""

    start: float | None = None
    step: float | None = None
    score: float | None = None
    merge: float | None = None

    def left(self, one: TrialState, phase: Doing, now: float) -> float | None:
        """Seconds that a trial at work has left."""
        if phase == "merging":
            return _rest(self.merge, now - one.since)
        training = _times(self.step, max(0, (steps_of(one) or 0) - one.steps))
        match phase:
            case "starting":
                return _sum(_rest(self.start, now - one.since), training, self.score)
            case "training" | "scoring at a rung":
                return _sum(training, self.score)
            case "scoring":
                return _rest(self.score, now - one.since)
        return None

    @property
    def whole(self) -> float | None:
        """Seconds of starting and scoring: of a trial without its steps."""
        return _sum(self.start, self.score)


def paces(state: SweepState) -> dict[str, Pace]:
    """By family, how long its trials take; `start` and `step` of trials that were trained, the others as they say."""
    took: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for one in state.ended():
        for name, seconds in _seconds(one):
            took[str(one.fields["family"])][name].append(seconds)
    return {
        family: Pace(**{name: median(found[-LAST:]) for name, found in parts.items()}) for family, parts in took.items()
    }


def working(state: SweepState, paces: Mapping[str, Pace], now: float) -> list[Working]:
    """The trials at work in the order they were started.

    Args:
        state: of a sweep whose driver is at work.
        paces: of its families.
        now: Unix time.
    """
    going = sorted((one for one in state.proposed() if runs(one)), key=lambda one: one.started or 0.0)
    return [_working(one, paces.get(str(one.fields["family"]), Pace()), now) for one in going]


def waiting(state: SweepState, at_work: Sequence[Working], *, unthought: int, spent: bool) -> list[Waiting]:
    """What waits for what.

    Args:
        state: of the sweep.
        at_work: trials that do not.
        unthought: trials that are to be trained and were not proposed yet.
        spent: whether the budget admits none that is not begun.
    """
    found: dict[str, list[str]] = defaultdict(list)
    running = {one.trial_id for one in at_work}
    for one in state.proposed():
        if one.outcome is None and one.trial_id not in running:
            found[_waits_for(one, spent=spent)].append(one.trial_id)
    counts = Counter({why: len(ids) for why, ids in found.items()})
    counts[SPENT if spent else "for their turn"] += unthought
    return [Waiting(why=why, count=count, trial_ids=found.get(why, ())) for why, count in (+counts).items()]


def savings(state: SweepState, paces: Mapping[str, Pace]) -> Savings | None:
    """What stopping has saved so far; None before it has stopped a trial."""
    trained = [one for one in state.ended() if steps_of(one) and not _is_merged(one)]
    saved = [
        (one, (steps_of(one) or 0) - ((one.outcome or {}).get("steps") or 0))
        for one in trained
        if (one.outcome or {})["state"] == "stopped"
    ]
    if not saved:
        return None
    return Savings(
        trials=len(saved),
        steps=sum(steps for _, steps in saved),
        steps_planned=sum(steps_of(one) or 0 for one in trained),
        seconds=_sum(*(_times(paces.get(str(one.fields["family"]), Pace()).step, steps) for one, steps in saved)),
    )


class Scored(NamedTuple):
    """Where a trial lies."""

    trial_id: str
    reward: float
    tax: float


@dataclass(frozen=True, kw_only=True)
class Front:
    """A family's front: its `members` by tax, and the `others` that were scored at their end."""

    family: str
    hypervolume: float
    members: Sequence[Scored]
    others: Sequence[Scored]


def fronts(state: SweepState) -> list[Front]:
    """The fronts so far, of families of which a trial has ended."""
    volumes = state.hypervolumes()
    objectives = Objectives.from_settings(state.resolved.get("objectives") or {})
    names = objectives.reward.name, objectives.tax.name
    scored: dict[str, list[Scored]] = defaultdict(list)
    for one in state.ended():
        reward, tax = ((one.outcome or {}).get(name) for name in names)
        if is_number(reward) and is_number(tax) and (one.outcome or {})["state"] == "completed":
            scored[str(one.fields["family"])].append(Scored(one.trial_id, reward, tax))
    found = []
    for family, volume in volumes.items():
        on_it = {one.trial_id for one in state.fronts[family]}
        members = sorted((one for one in scored[family] if one.trial_id in on_it), key=lambda one: one.tax)
        others = [one for one in scored[family] if one.trial_id not in on_it]
        found.append(Front(family=family, hypervolume=volume, members=members, others=others))
    return found


def left_of_sweep(at_work: Sequence[Working], waits: int, paces: Mapping[str, Pace], steps: int | None) -> float | None:
    """Seconds until so many waiting trials of so many steps are trained, too, as many at a time as now.

    None where nothing runs or nothing is known.
    """
    known = [_sum(one.whole, _times(one.step, steps or 0)) for one in paces.values()]
    running = _sum(*(one.seconds_left for one in at_work))
    if not at_work or running is None or not known or any(one is None for one in known):
        return None
    each = sum(one for one in known if one is not None) / len(known)
    return (running + waits * each) / len(at_work)


def runs(one: TrialState) -> bool:
    """Whether an attempt at it was started and is not known to have ended."""
    is_lost = bool(one.lost) and one.lost[-1].attempt == one.attempt
    return one.phase in ("started", "trained") and not is_lost


def steps_of(one: TrialState) -> int | None:
    """How many optimizer steps a trial has; None where its settings do not say."""
    steps = one.fields.get("params", {}).get("steps")
    return steps if isinstance(steps, int) else None


def _working(one: TrialState, pace: Pace, now: float) -> Working:
    phase, merged = _doing(one), _is_merged(one)
    return Working(
        trial_id=one.trial_id,
        family=str(one.fields["family"]),
        attempt=max(1, one.attempt),
        phase=phase,
        step=None if merged else steps_of(one) if phase == "scoring" else one.steps,
        steps=None if merged else steps_of(one),
        loss=one.loss,
        seconds=max(0.0, now - (one.started or now)),
        seconds_left=pace.left(one, phase, now),
    )


def _doing(one: TrialState) -> Doing:
    if _is_merged(one):
        return "merging"
    if one.phase == "trained" or one.trained is not None:
        return "scoring"
    if one.is_paused:
        return "paused at a rung"
    if one.stepped is None:
        return "starting"
    rungs = {step: level for level, step, *_ in one.fields.get("rungs", ())}
    reached = {rung.level for rung in one.rungs}
    return "scoring at a rung" if rungs.get(one.steps, -1) not in {-1, *reached} else "training"


def _waits_for(one: TrialState, *, spent: bool) -> str:
    if one.is_paused:
        return "at a rung, to be among the best there"
    if one.trained is not None:
        return "for workers that score"
    if one.phase == "paused":
        return "for room, to go on from their rung"
    if one.lost:
        return f"to be tried again ({one.lost[-1].reason})"
    if one.attempt:
        return "for a driver that goes on with them"
    if _is_merged(one):
        return "to be merged"
    return SPENT if spent else "for room"


def _is_merged(one: TrialState) -> bool:
    return one.fields.get("kind") == "posthoc"


def _seconds(one: TrialState) -> Iterator[tuple[str, float]]:
    """By part of a `Pace`, what a trial that ended took."""
    outcome: Mapping[str, Any] = one.outcome or {}
    took = {name: seconds for name, seconds in (outcome.get("seconds") or {}).items() if seconds is not None}
    if _is_merged(one):
        yield from [("merge", sum(took.values()))] if took else []
        return
    if "start" in took:
        yield "start", took["start"] + took.get("pilot", 0.0)
    if "train" in took and outcome.get("steps"):
        yield "step", took["train"] / outcome["steps"]
    if "evaluate" in took and outcome.get("state") == "completed":
        yield "score", took["evaluate"]


def _rest(whole: float | None, gone: float) -> float | None:
    return None if whole is None else max(0.0, whole - gone)


def _times(each: float | None, count: int) -> float | None:
    return None if each is None else each * count


def _sum(*parts: float | None) -> float | None:
    """None where a part is unknown."""
    known = [one for one in parts if one is not None]
    return sum(known) if len(known) == len(parts) else None
