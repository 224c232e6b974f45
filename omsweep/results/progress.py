"""How far a sweep is: who runs it, how many of its trials have ended, wait or were lost on the way."""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from omsweep.plan.budget import Use, uses
from omsweep.plan.posthoc import plan_posthoc
from omsweep.plan.size import begun, merged_count, trained_count
from omsweep.results.running import Savings, Waiting, Working, left_of_sweep, paces, runs, savings, waiting, working
from omsweep.space.build import build_space
from omsweep.space.search_space import SearchSpace
from omsweep.store.folder import SweepFolder
from omsweep.store.lease import SILENT_SECONDS, Owner, holder, last_epoch, silence
from omsweep.store.records import STATES, is_file_name
from omsweep.store.state import SCORED, SweepState, TrialState
from omsweep.store.storage import Storage

Standing = Literal["running", "completed", "failed", "interrupted", "abandoned", "former"]
CLOSED: Mapping[str, Standing] = {"completed": "completed", "failed": "failed", "interrupted": "interrupted"}
"""How a driver can leave a sweep, as its log says it."""


@dataclass(frozen=True, kw_only=True)
class Driver:
    """Who holds a sweep.

    Attributes:
        name: process and machine.
        silent: whether it has given no sign of life for so long that the next driver may take the sweep over.
        epoch: of its lease; higher than that of the sweep's last event while it prepares.
    """

    name: str
    silent: bool = False
    epoch: int = field(default=0, compare=False)

    @classmethod
    def of(cls, storage: Storage) -> "Driver | None":
        """Of a sweep; None where nobody but this process holds it, or who does is known to be dead."""
        owner = holder(storage)
        if owner in (None, Owner.here()):
            return None
        return cls(name=str(owner), silent=silence(storage) > SILENT_SECONDS, epoch=last_epoch(storage))


@dataclass(frozen=True, kw_only=True)
class Failure:
    """A trial that ended without scores: `error` in one line, `traceback` its file in the sweep's folder."""

    trial_id: str
    state: str
    attempts: int
    error: str | None
    traceback: str | None


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a sweep is.

    Attributes:
        state: `running`; as the last driver left it, `completed`, `failed` or `interrupted`; `abandoned` where that
            driver was killed and nobody has gone on; `former` of a sweep from before the log, which does not say.
        driver: who holds the sweep, where somebody does.
        traceback: file with what stopped the last driver, where an error did.
        planned: trials that are to be trained, None where this omsweep cannot read the sweep's search space.
        ended: how many of these ended in which state.
        running, waiting: how many are at work, and how many are still to be started or gone on with.
        budget: how much was used of every limit that the search space sets.
        not_started: trials that are not begun because a limit is used up.
        merges_planned: post-hoc points, while trials are still trained an upper limit; None as `planned`.
        merged: how many of these ended in which state.
        lost: attempts that ended without a result, by reason; their trials were tried again unless they failed.
        failures: trials that ended without scores.
        at_work: trials that are at work, merged points too.
        waits: what waits for what.
        seconds_left: until all is trained and scored, were nothing stopped from here on; None where nothing is known.
        savings: what stopping saved, None where it has stopped nothing.
    """

    state: Standing
    driver: Driver | None
    traceback: str | None
    planned: int | None
    ended: Mapping[str, int]
    running: int
    waiting: int
    budget: Sequence[Use]
    not_started: int
    merges_planned: int | None
    merged: Mapping[str, int]
    lost: Mapping[str, int]
    failures: Sequence[Failure]
    at_work: Sequence[Working]
    waits: Sequence[Waiting]
    seconds_left: float | None
    savings: Savings | None

    @property
    def ended_count(self) -> int:
        """Trained trials that ended."""
        return sum(self.ended.values())

    @property
    def unfinished(self) -> bool:
        """Whether something is known to be missing."""
        stopped = self.state in ("running", "interrupted", "abandoned") or self.traceback is not None
        return stopped or self.waiting + self.running > 0


def progress_of(
    state: SweepState, driver: Driver | None = None, *, traceback: str | None = None, now: float = 0.0
) -> Progress:
    """How far a sweep is whose log adds up to `state`.

    Args:
        state: of the sweep.
        driver: who holds it.
        traceback: file with what stopped the last driver.
        now: Unix time until which what runs is counted, at least until the last event.
    """
    space = space_of(state)
    kinds = {kind: [one for one in state.proposed() if _kind(one) == kind] for kind in ("trained", "posthoc")}
    ended, merged = (_states(kinds[kind]) for kind in ("trained", "posthoc"))
    standing = _standing(state, driver)
    now = max(now, state.time) if standing == "running" else state.time
    known = len(kinds["trained"])
    planned = None if space is None else max(trained_count(space), known)
    runs_now = standing == "running" and not prepares(state, driver)
    running = sum(map(runs, kinds["trained"])) if runs_now else 0
    budget = [] if space is None else uses(space.file.budget, state, now)
    spent = any(one.up for one in budget)
    not_started = planned - len(begun(state)) if planned is not None and spent else 0
    left = (known if planned is None else planned) - sum(ended.values()) - running - not_started
    took = paces(state)
    at_work = working(state, took, now) if runs_now else []
    return Progress(
        state=standing,
        driver=driver,
        traceback=traceback if standing == "failed" else None,
        planned=planned,
        ended=ended,
        running=running,
        waiting=left,
        budget=budget,
        not_started=not_started,
        merges_planned=None
        if space is None
        else _merges(space, state, whole=sum(ended.values()) + not_started == planned),
        merged=merged,
        lost=dict(Counter(one.reason for trial in state.trials.values() for one in trial.lost).most_common()),
        failures=[_failure(one) for one in state.ended() if (one.outcome or {})["state"] not in SCORED],
        at_work=at_work,
        waits=waiting(state, at_work, unthought=0 if planned is None else planned - known, spent=spent),
        seconds_left=None if space is None else left_of_sweep(at_work, left, took, space.file.train.steps),
        savings=savings(state, took),
    )


def prepares(state: SweepState, driver: Driver | None) -> bool:
    """Whether a driver holds a sweep that has not begun its part yet: what ran before ended with the last one."""
    return driver is not None and not driver.silent and driver.epoch > state.epoch


@dataclass(frozen=True, kw_only=True)
class SweepLine:
    """A sweep in a list.

    Attributes:
        name: its name.
        state: as of `Progress`; None of a sweep that cannot be read, or is not yet made.
        ended, planned: trials that are trained; `planned` None as of `Progress`.
        family, members, hypervolume: the front with the largest hypervolume, None before there is one.
        time: Unix time of its last event.
        driver: who holds it.
        note: what there is to say of a sweep without a state.
    """

    name: str
    state: Standing | None = None
    ended: int = 0
    planned: int | None = None
    family: str | None = None
    members: int = 0
    hypervolume: float | None = None
    time: float = 0.0
    driver: str | None = None
    note: str | None = None


def sweeps_in(storage: Path) -> list[SweepLine]:
    """The sweeps of a storage, the last written first; OSError where it cannot be read."""
    names = [one.name for one in os.scandir(storage) if one.is_dir() and is_file_name(one.name)]
    lines = [line for name in names if (line := _line(SweepFolder(storage, name))) is not None]
    return sorted(lines, key=lambda one: -one.time)


def standing_of(folder: SweepFolder) -> Progress | None:
    """How far the sweep of a folder is; None where no sweep has been made there."""
    return progress_of(folder.state(), Driver.of(folder.files)) if folder.exists() else None


def _line(folder: SweepFolder) -> SweepLine | None:
    """None where no sweep lies in the folder."""
    driver = Driver.of(folder.files)
    who = None if driver is None else driver.name
    if not folder.exists():
        return None if who is None else SweepLine(name=folder.name, driver=who, note=f"{who} prepares it")
    try:
        state = folder.state()
        progress = progress_of(state, driver)
    except (ValueError, OSError) as error:
        return SweepLine(name=folder.name, driver=who, note=str(error))
    volumes = state.hypervolumes()
    best = max(volumes, key=lambda family: volumes[family], default=None)
    return SweepLine(
        name=folder.name,
        state=progress.state,
        ended=progress.ended_count,
        planned=progress.planned,
        family=best,
        members=0 if best is None else len(state.fronts[best]),
        hypervolume=None if best is None else volumes[best],
        time=state.time,
        driver=who,
    )


def _standing(state: SweepState, driver: Driver | None) -> Standing:
    if state.epoch == 0:
        return "former"
    if state.closed is not None:
        return CLOSED[state.closed]
    return "abandoned" if driver is None or driver.silent else "running"


def space_of(state: SweepState) -> SearchSpace | None:
    """The search space, where it is one for this omsweep too."""
    try:
        return build_space(dict(state.resolved))
    except ValueError:
        return None


def _merges(space: SearchSpace, state: SweepState, *, whole: bool) -> int:
    """Post-hoc points: what the trained trials give once all have ended, before that what the file asks for."""
    if not whole:
        return merged_count(space)
    made = {spec.trial_id for specs in plan_posthoc(space, state.records()).specs.values() for spec in specs}
    return len(made.union(one.trial_id for one in state.trials.values() if _kind(one) == "posthoc"))


def _kind(trial: TrialState) -> str:
    return str(trial.fields.get("kind", "trained"))


def _states(trials: Sequence[TrialState]) -> dict[str, int]:
    counted = Counter(one.outcome["state"] for one in trials if one.outcome is not None)
    return {state: counted[state] for state in STATES if counted[state]}


def _failure(trial: TrialState) -> Failure:
    outcome = trial.outcome or {}
    return Failure(
        trial_id=trial.trial_id,
        state=outcome["state"],
        attempts=max(1, trial.attempt),
        error=outcome.get("error"),
        traceback=trial.traceback,
    )
