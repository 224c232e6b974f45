"""The `posthoc` section: models merged after training, and the trials (`kind: posthoc`) they become. Torch-free."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from omsweep.families.family import ModelFamily
from omsweep.merging.knobs import TAU_METHODS
from omsweep.merging.posthoc import POSTHOC_METHODS, PosthocPoint, posthoc_points
from omsweep.space.branches import Branch
from omsweep.space.knobs import SpaceError
from omsweep.space.schema import Posthoc
from omsweep.store.folder import TrialRecord

INHERITED = ("family", "sft_seed", "block", "seed", "baseline", "algorithm", "task_vector")
"""Fields of a post-hoc trial that are its parent's: it belongs to the parent's block and arm."""

SHIFT = "tau_shift"
"""The method whose weight may be a trained trial's `tau_travel`."""


@dataclass(frozen=True, kw_only=True)
class PosthocGrid:
    """One entry of `posthoc`, checked.

    Attributes:
        label: its key.
        method: a key of `POSTHOC_METHODS`.
        points: of the grid, in order.
        of: labels of the branches whose trials get them.
        travel_of: label of the branch whose trial in the same block gives one more weight, its `tau_travel`.
        keep: whether merged weights stay once they are scored.
    """

    label: str
    method: str
    points: tuple[PosthocPoint, ...]
    of: tuple[str, ...]
    travel_of: str | None = None
    keep: bool = False

    def __len__(self) -> int:
        return len(self.points) + (self.travel_of is not None)


@dataclass(frozen=True)
class PosthocPlan:
    """What is merged after training: samples by parent, and how many points of the grids cannot be made."""

    samples: Mapping[str, Sequence[Mapping[str, Any]]]
    left_out: int


def read_posthoc(sections: Mapping[str, Posthoc], branches: Sequence[Branch], mode: str) -> tuple[PosthocGrid, ...]:
    """The entries of `posthoc`; raises SpaceError naming key path, value and what is allowed."""
    return tuple(_grid(label, section, branches, mode) for label, section in sections.items())


def over_levels(grids: Sequence[PosthocGrid], branches: Sequence[Branch]) -> tuple[PosthocGrid, ...]:
    """The grids for branches of which some are levels of a crossed knob: what is said of a branch holds for each level.

    Raises:
        SpaceError: `travel_of` names a branch with levels, of which none is the one that was meant.
    """
    labels = [branch.label for branch in branches]
    for grid in grids:
        if grid.travel_of is not None and grid.travel_of not in labels:
            raise SpaceError(
                f"posthoc.{grid.label}.travel_of",
                f"must be a branch without levels of design.cross ({', '.join(labels)}), got {grid.travel_of!r}",
            )
    return tuple(replace(grid, of=tuple(b.label for b in branches if b.origin in grid.of)) for grid in grids)


def check_bases(grids: Sequence[PosthocGrid], families: Sequence[ModelFamily]) -> None:
    """Refuse methods that need the base of a family whose base has another vocabulary; raises SpaceError."""
    for grid, family in itertools.product(grids, families):
        rows, shape = family.base_vocabulary, family.shape
        if "base" in POSTHOC_METHODS[grid.method].models and rows and shape and rows != shape.vocabulary:
            raise SpaceError(
                f"posthoc.{grid.label}.method",
                f"{grid.method} needs SFT model minus base, and {family.name} has no task vector: the base's vocabulary"
                f" has {rows} rows, the SFT model's {shape.vocabulary}; without base: {', '.join(_without_base())}",
            )


def needs_base(grids: Sequence[PosthocGrid]) -> bool:
    """Whether some point is made of the base too."""
    return any("base" in POSTHOC_METHODS[grid.method].models for grid in grids)


def check_models(grids: Sequence[PosthocGrid], family: str, base: str, sft: str) -> None:
    """Refuse folders of base and SFT model that points of both cannot be made of; ValueError naming family and tensors.

    Reads the headers of their files, and nothing where no point is made of the base.
    """
    from omsweep.merging.offline import check_same_tensors

    users = [f"posthoc.{grid.label}" for grid in grids if needs_base([grid])]
    if not users:
        return
    try:
        check_same_tensors({"base": base, "SFT model": sft}, "SFT model")
    except ValueError as error:
        raise ValueError(
            f"{', '.join(users)} cannot be made of {family}'s models: {error}; methods without base:"
            f" {', '.join(_without_base())}"
        ) from None


def check_parts(grids: Sequence[PosthocGrid], sft: str) -> None:
    """Refuse weights by part that do not cover the tensors of an SFT model's folder; ValueError naming the key path."""
    from omsweep.merging.layers import weights_by_name
    from omsweep.merging.sources import FolderTensors

    by_part = [(grid, point) for grid in grids for point in grid.points if point.row.by_name]
    names = list(FolderTensors(Path(sft))) if by_part else []
    for grid, point in by_part:
        try:
            weights_by_name(point.named_weights, names)
        except ValueError as error:
            raise ValueError(f"posthoc.{grid.label}.weights: {error}") from None


def points_of(grids: Sequence[PosthocGrid], label: str) -> int:
    """How many post-hoc points a trial of a branch has."""
    return sum(len(grid) for grid in grids if label in grid.of)


def plan_posthoc(grids: Sequence[PosthocGrid], trials: Sequence[TrialRecord]) -> PosthocPlan:
    """Samples for every trained trial that left a policy, in the order of the trials.

    A trial that did not complete gives none, and no point is made whose weight is the `tau_travel` of such a trial.

    Args:
        grids: of a search space.
        trials: its finished trials.

    Returns:
        Flat samples as `make_sample` builds them, with `kind`, `parent` and, among the settings, the parent's own and
        `posthoc`: what `PosthocPoint.as_data` says, and `travel_of` where the weight comes from there.
    """
    trained = [trial for trial in trials if trial.kind == "trained"]
    by_place = {(_block(trial), trial.label): trial for trial in trained}
    samples: dict[str, list[dict[str, Any]]] = {}
    left_out = 0
    for parent in trained:
        wanted = points_of(grids, str(parent.label))
        made = list(_samples(grids, parent, by_place)) if _has_policy(parent) else []
        left_out += wanted - len(made)
        if made:
            samples[parent.trial_id] = made
    return PosthocPlan(samples, left_out)


def recorded_point(settings: Mapping[str, Any]) -> PosthocPoint:
    """The point that `params.posthoc` of a trial object describes."""
    return PosthocPoint(**{name: value for name, value in settings.items() if name != "travel_of"})


def _grid(label: str, section: Posthoc, branches: Sequence[Branch], mode: str) -> PosthocGrid:
    path, method, known = f"posthoc.{label}", section.method, [branch.label for branch in branches]
    if method not in POSTHOC_METHODS:
        raise SpaceError(f"{path}.method", f"unknown method {method!r}; allowed: {', '.join(POSTHOC_METHODS)}")
    for name in section.of or ():
        if name not in known:
            raise SpaceError(f"{path}.of", f"unknown label {name!r}; allowed: {', '.join(known)}")
    _check_sparse(path, section)
    if section.travel_of is not None:
        _check_travel(f"{path}.travel_of", section, branches, mode)
    elif not section.weights:
        raise SpaceError(f"{path}.weights", f"must be a list of weights {POSTHOC_METHODS[method].allowed}, got none")
    return PosthocGrid(
        label=label,
        method=method,
        points=_points(path, section),
        of=tuple(name for name in known if section.of is None or name in section.of),
        travel_of=section.travel_of,
        keep=section.keep,
    )


def _points(path: str, section: Posthoc) -> tuple[PosthocPoint, ...]:
    densities = [1.0] if section.densities is None else section.densities
    seeds = [0] if section.seeds is None else section.seeds
    try:
        points = posthoc_points(section.method, weights=section.weights, densities=densities, seeds=seeds)
    except (ValueError, TypeError) as error:
        key = {"weight": "weights", "density": "densities", "seed": "seeds"}.get(str(error).split(maxsplit=1)[0])
        raise SpaceError(f"{path}.{key}" if key else path, str(error)) from None
    if len(points) < len(section.weights) * len(densities) * len(seeds):
        raise SpaceError(path, "weights, densities and seeds must not repeat a value")
    return points


def _check_sparse(path: str, section: Posthoc) -> None:
    sparse = [name for name, row in POSTHOC_METHODS.items() if row.sparse]
    for key, given in (("densities", section.densities), ("seeds", section.seeds)):
        if given is not None and section.method not in sparse:
            raise SpaceError(f"{path}.{key}", f"method {section.method} does not take {key} ({', '.join(sparse)} do)")
        if given == []:
            raise SpaceError(f"{path}.{key}", "must not be an empty list")
    if section.densities is None and section.method in sparse:
        raise SpaceError(f"{path}.densities", f"method {section.method} needs densities: numbers in (0, 1]")


def _check_travel(path: str, section: Posthoc, branches: Sequence[Branch], mode: str) -> None:
    if section.method != SHIFT:
        raise SpaceError(path, f"only method {SHIFT} shifts by a trial's tau_travel, got method {section.method!r}")
    if mode != "compare":
        raise SpaceError(path, f"needs mode 'compare', whose blocks pair the trials; mode is {mode!r}")
    merging = [branch.label for branch in branches if branch.method in TAU_METHODS]
    if section.travel_of not in merging:
        raise SpaceError(
            path,
            f"must be a label whose method merges a task vector ({', '.join(merging) or 'here is none'}), got"
            f" {section.travel_of!r}",
        )


def _samples(
    grids: Sequence[PosthocGrid], parent: TrialRecord, by_place: Mapping[Any, TrialRecord]
) -> Iterator[dict[str, Any]]:
    for grid in grids:
        if parent.label not in grid.of:
            continue
        settings = [point.as_data() for point in grid.points]
        traveller = by_place.get((_block(parent), grid.travel_of))
        travel = traveller.diagnostics.get("tau_travel") if traveller and _has_policy(traveller) else None
        if travel is not None:
            point = PosthocPoint(method=grid.method, weight=travel)
            settings.append(point.as_data() | {"travel_of": grid.travel_of})
        for number, posthoc in enumerate(settings):
            yield {
                **parent.params,
                **{name: getattr(parent, name) for name in INHERITED},
                "trial_id": f"{parent.trial_id}+{grid.label}-{number}",
                "kind": "posthoc",
                "parent": parent.trial_id,
                "method": grid.method,
                "label": f"{parent.label}+{grid.label}",
                "posthoc": posthoc,
            }


def _has_policy(trial: TrialRecord) -> bool:
    return trial.state == "completed" and trial.policy_path is not None


def _block(trial: TrialRecord) -> tuple[Any, ...]:
    return trial.family, trial.sft_seed, trial.block, trial.seed


def _without_base() -> list[str]:
    return [name for name, row in POSTHOC_METHODS.items() if "base" not in row.models]
