"""Two or more sweeps beside each other: their fronts up to one reference point, and what they were run with.

Only where they measured the same: equal objectives, suite, scorer and answers. Then a sweep is to this page what a
method is to a sweep's own.
"""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from omsweep.results.answers.picks import Pick, choice_of
from omsweep.results.front import front_summary
from omsweep.results.numbers import short
from omsweep.results.objectives import Objectives
from omsweep.results.view import SweepView
from omsweep.space.schema import NOT_MEASURED
from omsweep.store.records import TWINS, TrialRecord
from omsweep.strict_json import flatten

HOW_NOT_WHAT = (*NOT_MEASURED, "batch_size", "allow_suite_code", "allow_code_execution", "data_root", "data")
"""Keys of `evaluate` that change no score; what data files hold is compared as an input."""
NO_SETTINGS = ("name", "keep", "report", "budget")
SEPARATOR = ":"
"""Between a sweep's name and a trial's: in neither."""


@dataclass(frozen=True, kw_only=True)
class OwnFront:
    """One sweep's front in a family, up to the common reference point.

    Attributes:
        sweep, family: whose.
        scored: trials with both objectives.
        members: of its front.
        on_common_front: of these, those on the front of all sweeps together.
        hypervolume: of its front.
        picks: what to take from it.
    """

    sweep: str
    family: str
    scored: int
    members: Sequence[str]
    on_common_front: Sequence[str]
    hypervolume: float
    picks: Sequence[Pick]


@dataclass(frozen=True, kw_only=True)
class SideBySide:
    """Sweeps beside each other.

    Attributes:
        names: of the sweeps, in the order they were given.
        view: all their trials as one sweep whose labels are the sweeps.
        fronts: by family and sweep.
        differences: setting -> its value in each sweep, of those that differ.
        cautions: what to know before comparing, in sentences.
    """

    names: Sequence[str]
    view: SweepView
    fronts: Sequence[OwnFront]
    differences: Mapping[str, Sequence[str]]
    cautions: Sequence[str]


def side_by_side(views: Sequence[SweepView]) -> SideBySide:
    """The sweeps beside each other.

    Raises:
        ValueError: fewer than two, one twice, or they did not measure the same; the sentence names what differs.
    """
    names = [view.name for view in views]
    if len(views) < 2 or len(set(names)) < len(names):
        raise ValueError(f"--compare takes two or more different sweeps, got {', '.join(names) or 'none'}")
    for one, other in itertools.combinations(views, 2):
        _check_same_measures(one, other)
    objectives, moved = _common_objectives(views)
    whole = _together(views, objectives)
    return SideBySide(
        names=names,
        view=whole,
        fronts=[
            _own_front(view, family, objectives, whole)
            for family in whole.families
            for view in views
            if family in view.families
        ],
        differences=differences(views),
        cautions=[*moved, *_cautions(views)],
    )


def differences(views: Sequence[SweepView]) -> dict[str, list[str]]:
    """Settings of the search spaces that differ, each with its value in every sweep."""
    spaces = [flatten({key: value for key, value in view.resolved.items() if key not in NO_SETTINGS}) for view in views]
    keys = dict.fromkeys(key for space in spaces for key in space)
    return {key: values for key in keys if len(set(values := [short(space.get(key)) for space in spaces])) > 1}


def _check_same_measures(one: SweepView, other: SweepView) -> None:
    for name in ("reward", "tax"):
        mine, theirs = (getattr(view.objectives, name).name for view in (one, other))
        if mine != theirs:
            raise ValueError(_refusal(one, other, f"objectives.{name}", mine, theirs))
    measures = [
        flatten({k: v for k, v in (view.resolved.get("evaluate") or {}).items() if k not in HOW_NOT_WHAT})
        for view in (one, other)
    ]
    for key in dict.fromkeys([*measures[0], *measures[1]]):
        mine, theirs = (measure.get(key) for measure in measures)
        if mine != theirs:
            raise ValueError(_refusal(one, other, f"evaluate.{key}", short(mine), short(theirs)))
    inputs = [view.description.get("inputs") or {} for view in (one, other)]
    for key in (key for key in inputs[0] if key.startswith("evaluate") and key in inputs[1]):
        hashes = [{name: value for name, value in files[key].items() if name != "path"} for files in inputs]
        if hashes[0] != hashes[1]:
            raise ValueError(
                _refusal(one, other, f"what {key} holds", *(short(files[key].get("path")) for files in inputs))
            )


def _refusal(one: SweepView, other: SweepView, what: str, mine: str, theirs: str) -> str:
    return (
        f"sweeps {one.name} and {other.name} differ in {what} ({mine} and {theirs}): only sweeps with the same"
        " objectives, tax suite and scorer can stand beside each other"
    )


def _common_objectives(views: Sequence[SweepView]) -> tuple[Objectives, list[str]]:
    """One reference point that covers all of theirs, and that it was moved."""
    points = [(view.objectives.reference_reward, view.objectives.reference_tax) for view in views]
    reward, tax = min(point[0] for point in points), max(point[1] for point in points)
    up_to = f"reward {short(reward)} and tax {short(tax)}"
    moved = f"The sweeps have different reference points; hypervolumes here are up to {up_to}."
    said = [moved] if len(set(points)) > 1 else []
    return replace(views[0].objectives, reference_reward=reward, reference_tax=tax), said


def _together(views: Sequence[SweepView], objectives: Objectives) -> SweepView:
    trials = [_renamed(view, trial) for view in views for trial in view.trials]
    families = list(dict.fromkeys(family for view in views for family in view.families))
    summary = front_summary(trials, objectives, mode="compare")
    resolved: dict[str, Any] = {
        "mode": "compare",
        "families": families,
        "space": {"method": {view.name: {} for view in views}},
        "objectives": views[0].resolved.get("objectives"),
    }
    return SweepView(
        description={**views[0].description, "name": " and ".join(view.name for view in views), "resolved": resolved},
        trials=trials,
        summary=summary,
        references={},
        objectives=objectives,
        progress=replace(views[0].progress, state="completed", traceback=None, running=0, waiting=0, not_started=0),
    )


def _renamed(view: SweepView, trial: TrialRecord) -> TrialRecord:
    """The trial under its sweep's name, which is its label, with its later scores on the report split."""
    member = view.members.get(trial.trial_id, {})
    rescored = {twin: member[twin] for twin in TWINS.values() if member.get(twin) is not None}
    parent = None if trial.parent is None else f"{view.name}{SEPARATOR}{trial.parent}"
    named = {"trial_id": f"{view.name}{SEPARATOR}{trial.trial_id}", "parent": parent, "label": view.name}
    return trial.model_copy(update={**rescored, **named})


def _own_front(view: SweepView, family: str, objectives: Objectives, whole: SweepView) -> OwnFront:
    trials = [trial for trial in view.trials if trial.family == family]
    content = front_summary(trials, objectives)["families"][family]
    common = {
        trial_id.removeprefix(f"{view.name}{SEPARATOR}")
        for trial_id in whole.member_ids
        if trial_id.startswith(f"{view.name}{SEPARATOR}")
    }
    return OwnFront(
        sweep=view.name,
        family=family,
        scored=content["scored"],
        members=content["members"],
        on_common_front=[trial_id for trial_id in content["members"] if trial_id in common],
        hypervolume=content["hypervolume"],
        picks=choice_of(view, family).picks,
    )


def _cautions(views: Sequence[SweepView]) -> Iterable[str]:
    keys = dict.fromkeys(key for view in views for key in view.references)
    for key in keys:
        having = [view for view in views if key in view.references]
        scores = {_scored_as(view.references[key]) for view in having}
        if len(scores) > 1:
            names = " and ".join(view.name for view in having)
            yield f"The SFT model of {key} is another one in {names}: gains are over different models."
    if any(view.summary["exploratory"] for view in views):
        yield "One seed per setting: two runs of one recipe can differ by more than two sweeps do here."
    if any(view.progress.unfinished for view in views):
        names = ", ".join(view.name for view in views if view.progress.unfinished)
        yield f"Not all trials have ended: {names}."
    counts = {view.name: view.summary["scored"] for view in views}
    if len(set(counts.values())) > 1:
        told = ", ".join(f"{name} {count}" for name, count in counts.items())
        yield f"More trials find better fronts: with both objectives are {told}."


def _scored_as(reference: Mapping[str, Any]) -> tuple[Any, ...]:
    return (reference.get("reward_absolute"), *sorted((reference.get("scores") or {}).items()))
