"""The `posthoc` section: grids of models that are merged after training. Torch-free."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from omsweep.merging.methods import METHODS
from omsweep.merging.posthoc import POSTHOC_METHODS, PosthocPoint, posthoc_points
from omsweep.space.branches import Branch
from omsweep.space.knobs import SpaceError
from omsweep.space.schema import Posthoc

MOST_POINTS = 10_000
SHIFT = "tau_shift"
"""The method that may shift a trial to where another one of its block ended along tau."""


@dataclass(frozen=True, kw_only=True)
class PosthocGrid:
    """One entry of `posthoc`, checked.

    Attributes:
        label: its key.
        method: a key of `POSTHOC_METHODS`.
        points: of the grid, in order.
        of: labels of the branches whose trials get them.
        travel_of: label of the branch that gives one more weight: what puts a trial as far along tau as it goes in the
            block at the same `residual`.
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


def points_of(grids: Sequence[PosthocGrid], label: str) -> int:
    """How many post-hoc points a trial of a branch has."""
    return sum(len(grid) for grid in grids if label in grid.of)


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
    if (count := len(section.weights) * len(densities) * len(seeds)) > MOST_POINTS:
        raise SpaceError(path, f"a grid has at most {MOST_POINTS} points, and this one {count}")
    try:
        points = posthoc_points(section.method, weights=section.weights, densities=densities, seeds=seeds)
    except (ValueError, TypeError) as error:
        key = {"weight": "weights", "density": "densities", "seed": "seeds"}.get(str(error).split(maxsplit=1)[0])
        raise SpaceError(f"{path}.{key}" if key else path, str(error)) from None
    if len(points) < count:
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
        raise SpaceError(path, f"only method {SHIFT} shifts to a trial's travel, got method {section.method!r}")
    if mode != "compare":
        raise SpaceError(path, f"needs mode 'compare', whose blocks pair the trials; mode is {mode!r}")
    merging = [branch.label for branch in branches if METHODS[branch.method].merges_tau]
    if section.travel_of not in merging:
        raise SpaceError(
            path,
            f"must be a label whose method merges a task vector ({', '.join(merging) or 'here is none'}), got"
            f" {section.travel_of!r}",
        )
