"""The points a search starts with: baselines, one per remaining method, or a whole grid. Torch-free, Ray-free."""

import itertools
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sized
from dataclasses import dataclass
from typing import Any, Literal

from omsweep.merging.methods import BASELINE_METHOD
from omsweep.space.branches import Branch
from omsweep.space.knobs import Fixed, Integer, Interval, Knob, SpaceError, contains, edge_values
from omsweep.space.schema import MOST_TRIALS
from omsweep.space.search_space import SearchSpace

LEAST_GENERATION = 10
"""Trials in a generation of NSGA-II where nothing else is said."""


@dataclass(frozen=True)
class Point:
    """A point enqueued in every family's study: study parameters by key path, and why it is there."""

    params: Mapping[str, Any]
    proposal: Literal["baseline", "transfer", "first", "grid"]


def plan(space: SearchSpace) -> list[Point]:
    """What every family's study holds before anything is proposed.

    First AdamW for each algorithm and combination of `baselines` values, then one point per remaining method (its
    knobs left to the sampler) or, for `grid`, every further point of the grid.

    Raises:
        SpaceError: a baseline that cannot be drawn, or a grid over a range.
    """
    baselines = list(_baseline_points(space))
    points = [Point(params, "baseline") for params in baselines]
    if space.search.algorithm == "grid":
        return points + [Point(params, "grid") for params in _grid_points(space) if params not in baselines]
    others = [b.label for b in space.branches if not (baselines and b.label == BASELINE_METHOD)]
    return points + [Point({"method": label}, "first") for label in others]


def trial_count(space: SearchSpace) -> int:
    """How many trials the search starts over all families; raises SpaceError where `trials` is missing or too few."""
    points, families, trials = plan(space), len(space.families), space.search.trials
    replicates = space.search.replicates
    if space.search.algorithm == "grid":
        whole = len(points) * families + replicates
        if trials is not None and trials != whole:
            repeated = f" and {replicates} replicates" if replicates else ""
            raise SpaceError(
                "search.trials", f"a grid has {whole - replicates} points{repeated}, got {trials}; leave it out"
            )
        return whole
    if trials is None:
        raise SpaceError("search.trials", f"is missing; {space.search.algorithm!r} needs the number of trials")
    baselines = sum(point.proposal == "baseline" for point in points) * families
    if trials < baselines + replicates:
        repeated = f" and {replicates} replicates" if replicates else ""
        raise SpaceError("search.trials", f"must be at least the {baselines} baselines{repeated}, got {trials}")
    return trials


def shares(space: SearchSpace, trials: int) -> Counter[str]:
    """How many of the first so many trials are each family's: they take turns."""
    families = len(space.families)
    return Counter({name: (trials - place + families - 1) // families for place, name in enumerate(space.family_names)})


def check_trials(space: SearchSpace) -> None:
    """Whether a search starts enough trials, and from what it can learn; raises SpaceError."""
    if space.file.mode == "search":
        trial_count(space)
        _check_sources(space)


def _check_sources(space: SearchSpace) -> None:
    search, source = space.search, space.search.transfer_from
    for key in ("warm_start", "transfer_from"):
        if getattr(search, key) and not search.learns:
            raise SpaceError(f"search.{key}", f"{search.algorithm!r} learns nothing from results; use tpe, nsga2 or gp")
    if source is None:
        return
    if space.family_names == [source]:
        raise SpaceError("search.transfer_from", f"{source!r} is the only family: name one that others can learn from")
    if source not in space.family_names and not search.warm_start:
        allowed = ", ".join(space.family_names)
        raise SpaceError(
            "search.transfer_from",
            f"must be one of the families ({allowed}), or one of the sweeps in warm_start, got {source!r}",
        )


def recipe_count(space: SearchSpace) -> int | None:
    """How many recipes there are; None where a branch draws a real number."""
    knobs = [[knob for _, knob in live_knobs(space, branch).values()] for branch in space.branches]
    if any(isinstance(knob, Interval) for of_branch in knobs for knob in of_branch):
        return None
    return sum(math.prod(map(_levels, of_branch)) for of_branch in knobs)


def _levels(knob: Knob) -> int:
    return knob.high - knob.low + 1 if isinstance(knob, Integer) else len(edge_values(knob))


def startup_trials(space: SearchSpace) -> int:
    """Completed trials a family's sampler waits for before it proposes from its model; NSGA-II's first generation."""
    least = LEAST_GENERATION if space.search.algorithm == "nsga2" else 1
    return space.search.startup_trials or max(least, len(plan(space)))


def live_knobs(space: SearchSpace, branch: Branch) -> dict[str, tuple[str, Knob]]:
    """Knob name -> (study parameter, knob) of what is alive under a branch; its overrides replace shared knobs."""
    shared = {name: (name, knob) for name, knob in space.shared_by(branch).items()}
    own = {name: (f"method.{branch.label}.{name}", knob) for name, knob in branch.knobs.items()}
    return shared | own


def _baseline_points(space: SearchSpace) -> Iterator[dict[Any, Any]]:
    if not space.file.baselines:
        return
    branch = next((b for b in space.branches if b.label == BASELINE_METHOD), None)
    if branch is None:
        raise SpaceError("baselines", f"need the method {BASELINE_METHOD!r} in space.method")
    live = live_knobs(space, branch)
    values: dict[str, list[Any]] = {"algorithm": list(edge_values(live["algorithm"][1]))}
    for name, raw in space.file.baselines.items():
        if name not in live:
            raise SpaceError(f"baselines.{name}", f"unknown key {name!r}; allowed: {', '.join(live)}")
        values[name] = raw if isinstance(raw, list) else [raw]
        for value in values[name]:
            if not contains(live[name][1], value):
                path = f"space.{live[name][0]}"
                raise SpaceError(f"baselines.{name}", f"must lie in what {path} can draw, got {value!r}")
    _check_count("baselines", values.values())
    for combination in itertools.product(*values.values()):
        chosen = dict(zip(values, combination, strict=True))
        yield {"method": branch.label} | _drawn(live, chosen)


def _grid_points(space: SearchSpace) -> Iterator[dict[Any, Any]]:
    for branch in space.branches:
        live = live_knobs(space, branch)
        for path, knob in live.values():
            if isinstance(knob, Interval | Integer):
                raise SpaceError(f"space.{path}", "a grid needs plain values and choices; a range has no grid")
        levels = [edge_values(knob) for _, knob in live.values()]
        _check_count(f"space.method.{branch.label}", levels)
        for combination in itertools.product(*levels):
            yield {"method": branch.label} | _drawn(live, dict(zip(live, combination, strict=True)))


def _check_count(path: str, levels: Iterable[Sized]) -> None:
    if (count := math.prod(map(len, levels))) > MOST_TRIALS:
        raise SpaceError(path, f"a search starts at most {MOST_TRIALS} trials, and its grid has {count} points")


def _drawn(live: Mapping[str, tuple[str, Knob]], chosen: Mapping[str, Any]) -> dict[str, Any]:
    """Study parameters for the chosen knobs; fixed knobs are none."""
    return {live[name][0]: value for name, value in chosen.items() if not isinstance(live[name][1], Fixed)}
