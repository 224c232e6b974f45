"""How many trials a sweep is made of, and how many of them are left. Torch-free."""

from collections.abc import Sequence

from omsweep.plan.budget import admitted, describe, uses
from omsweep.plan.forking import forked_trials
from omsweep.plan.starting_points import trial_count
from omsweep.space.posthoc import points_of
from omsweep.space.search_space import SearchSpace
from omsweep.store.records import TrialSpec
from omsweep.store.state import SweepState, TrialState


def trained_count(space: SearchSpace) -> int:
    """Trials that are trained: all places of the design, or what a search starts; raises SpaceError."""
    if space.file.mode == "search":
        return trial_count(space)
    design = space.design
    places = len(space.families) * design.sft_seeds * design.blocks * design.seeds
    return places * len(space.branches) * max(1, len(design.ladder))


def merged_count(space: SearchSpace) -> int:
    """Post-hoc points of these trials; of a search, which may train the branch with most of them only, at most."""
    points = [points_of(space.posthoc, branch.label) for branch in space.branches]
    trained = trained_count(space)
    return max(points) * trained if space.file.mode == "search" else trained // len(points) * sum(points)


def trials_of(space: SearchSpace, specs: Sequence[TrialSpec] | None, state: SweepState) -> int:
    """How many trained trials a sweep has once it is complete, those taken over included."""
    return trial_count(space) + forked_trials(state) if specs is None else len(specs)


def begun(state: SweepState) -> list[TrialState]:
    """Trained trials that were begun, or taken over."""
    trained = [one for one in state.proposed() if one.fields.get("kind", "trained") == "trained"]
    return [one for one in trained if one.attempt > 0 or one.outcome is not None]


def left_of(space: SearchSpace, specs: Sequence[TrialSpec] | None, state: SweepState) -> Sequence[TrialSpec] | int:
    """The trials that are still to be trained, as far as the budget admits; only how many, where a search proposes."""
    known = begun(state)
    going = [one.spec for one in known if one.outcome is None and one.trained is None]
    new = int(max(0, min(trials_of(space, specs, state) - len(known), admitted(space.file.budget, state))))
    if specs is None:
        return len(going) + new
    ids = {one.trial_id for one in known}
    return [*going, *[spec for spec in specs if spec.trial_id not in ids][:new]]


def spent_of(space: SearchSpace, specs: Sequence[TrialSpec] | None, state: SweepState) -> str | None:
    """Which limits of the budget are used up, where trials were not begun for that."""
    not_begun = trials_of(space, specs, state) - len(begun(state))
    return describe(uses(space.file.budget, state), not_begun) if not_begun > 0 else None
