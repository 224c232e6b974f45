"""Which post-hoc trials (`kind: posthoc`) follow from the trained ones. Torch-free."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from omsweep.merging.posthoc import PosthocPoint
from omsweep.space.posthoc import points_of
from omsweep.space.search_space import SearchSpace
from omsweep.space.specs import evaluation
from omsweep.store.records import TrialIdentity, TrialRecord, TrialSpec

OWN = ("trial_id", "kind", "parent", "method", "label", "params")
"""Fields of a post-hoc trial that are its own; the others are its parent's, whose block and arm it is of."""


@dataclass(frozen=True)
class PosthocPlan:
    """What is merged after training: trials by parent, and how many points of the grids cannot be made."""

    specs: Mapping[str, Sequence[TrialSpec]]
    left_out: int


def plan_posthoc(space: SearchSpace, trials: Sequence[TrialRecord]) -> PosthocPlan:
    """Post-hoc trials of every trained trial that left a policy, in the order of the trials.

    A trial that did not complete gives none, and no point is made whose weight needs the `travel` of such a trial.

    Args:
        space: with the grids.
        trials: its finished trials.

    Returns:
        Trials whose `params` are the parent's own and `posthoc`: what `PosthocPoint.as_data` says, and `travel_of`
        where the weight comes from there.
    """
    trained = [trial for trial in trials if trial.kind == "trained"]
    by_place: dict[Any, list[TrialRecord]] = {}
    for trial in filter(_has_policy, trained):
        by_place.setdefault((_block(trial), trial.label), []).append(trial)
    specs: dict[str, list[TrialSpec]] = {}
    left_out = 0
    for parent in trained:
        wanted = points_of(space.posthoc, str(parent.label))
        made = list(_specs(space, parent, by_place)) if _has_policy(parent) else []
        left_out += wanted - len(made)
        if made:
            specs[parent.trial_id] = made
    return PosthocPlan(specs, left_out)


def _specs(
    space: SearchSpace, parent: TrialRecord, by_place: Mapping[Any, Sequence[TrialRecord]]
) -> Iterator[TrialSpec]:
    inherited = {name: getattr(parent, name) for name in TrialIdentity.model_fields if name not in OWN}
    for grid in space.posthoc:
        if parent.label not in grid.of:
            continue
        points: list[tuple[PosthocPoint, dict[str, Any]]] = [(point, {}) for point in grid.points]
        shift = _shift(parent, by_place.get((_block(parent), grid.travel_of), ()))
        if shift is not None:
            points.append((PosthocPoint(method=grid.method, weight=shift), {"travel_of": grid.travel_of}))
        for number, (point, origin) in enumerate(points):
            yield TrialSpec(
                **inherited,
                trial_id=f"{parent.trial_id}+{grid.label}-{number}",
                kind="posthoc",
                parent=parent.trial_id,
                method=grid.method,
                label=f"{parent.label}+{grid.label}",
                params={**parent.params, "posthoc": point.as_data() | origin},
                point=point.as_data(),
                keep=grid.keep,
                **evaluation(space),
            )


def _shift(parent: TrialRecord, travellers: Sequence[TrialRecord]) -> float | None:
    """What puts a parent as far along tau as another branch goes in its block at the same distance beside tau.

    That is the branch's `travel` at the parent's `residual` less the parent's. Over a ladder of doses its travel is
    interpolated by its residual, and beyond the ladder it is that of the nearest dose.
    """
    ends = sorted(
        (r, a)
        for run in travellers
        if (r := _went(run, "residual")) is not None and (a := _went(run, "travel")) is not None
    )
    here, beside = _went(parent, "travel"), _went(parent, "residual")
    if not ends or here is None or beside is None:
        return None
    return float(np.interp(beside, [r for r, _ in ends], [a for _, a in ends])) - here


def _went(trial: TrialRecord, name: str) -> float | None:
    return trial.diagnostics.get(name)


def _has_policy(trial: TrialRecord) -> bool:
    return trial.state == "completed" and trial.policy_path is not None


def _block(trial: TrialRecord) -> tuple[Any, ...]:
    return trial.family, trial.sft_seed, trial.block, trial.seed
