"""The knobs of a search space as parameters of an Optuna study, named by key path. Torch-free.

A trial has the parameters of its own branch alone. TPE takes such trials as they are; NSGA-II and the Gaussian process
need every parameter of every trial, so that they see *whole* ones: what a branch does not have is filled in.
"""

from collections.abc import Callable, Mapping
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from omsweep.plan.starting_points import live_knobs
from omsweep.space.branches import Branch
from omsweep.space.knobs import Choice, Fixed, Integer, Interval, Knob, Scalar, from_unit
from omsweep.space.search_space import SearchSpace

METHOD = "method"
Params = Mapping[str, Any]


def suggest_values(space: SearchSpace, trial: optuna.Trial) -> tuple[Branch, dict[str, Scalar]]:
    """Draw the method, then the knobs that are alive under it (a branch's override replaces the shared knob)."""
    branch = branch_of(space, trial.suggest_categorical(METHOD, [branch.label for branch in space.branches]))
    return branch, {name: _suggest(trial, path, knob) for name, (path, knob) in live_knobs(space, branch).items()}


def branch_of(space: SearchSpace, label: str) -> Branch:
    """The branch of a label."""
    return next(branch for branch in space.branches if branch.label == label)


def drawn_knobs(space: SearchSpace, branch: Branch) -> dict[str, Knob]:
    """The parameters of a branch beside the method, with their knobs."""
    return {path: knob for path, knob in live_knobs(space, branch).values() if not isinstance(knob, Fixed)}


def distributions(space: SearchSpace, params: Params) -> dict[str, BaseDistribution]:
    """What `suggest_values` drew these parameters from."""
    knobs = drawn_knobs(space, branch_of(space, params[METHOD]))
    return {METHOD: _labels(space), **{path: _distribution(knob) for path, knob in knobs.items() if path in params}}


def every_knob(space: SearchSpace) -> dict[str, Knob]:
    """Every parameter that some branch has, beside the method, with its knob."""
    return {path: knob for branch in space.branches for path, knob in drawn_knobs(space, branch).items()}


def whole_distributions(space: SearchSpace) -> dict[str, BaseDistribution]:
    """Every parameter that some branch has, the method first."""
    return {METHOD: _labels(space), **{path: _distribution(knob) for path, knob in every_knob(space).items()}}


def whole(knobs: Mapping[str, Knob], params: Params, unit: Callable[[], float]) -> dict[str, Any]:
    """These parameters and, for those of other branches, what lies at the quantile that `unit` gives."""
    return {path: from_unit(knob, unit()) for path, knob in knobs.items()} | dict(params)


def own(space: SearchSpace, params: Params) -> dict[str, Any]:
    """Of whole parameters those that their branch has."""
    return {path: params[path] for path in (METHOD, *drawn_knobs(space, branch_of(space, params[METHOD])))}


def recipe_key(params: Params) -> tuple[tuple[str, Any], ...]:
    """What two trials of one recipe have in common."""
    return tuple(sorted(params.items()))


def _suggest(trial: optuna.Trial, path: str, knob: Knob) -> Scalar:
    match knob:
        case Fixed(value):
            return value
        case Choice(values):
            return trial.suggest_categorical(path, values)
        case Interval(low, high, log):
            return trial.suggest_float(path, low, high, log=log)
        case Integer(low, high):
            return trial.suggest_int(path, low, high)


def _labels(space: SearchSpace) -> BaseDistribution:
    return CategoricalDistribution([branch.label for branch in space.branches])


def _distribution(knob: Knob) -> BaseDistribution:
    match knob:
        case Choice(values):
            return CategoricalDistribution(values)
        case Interval(low, high, log):
            return FloatDistribution(low, high, log=log)
        case Integer(low, high):
            return IntDistribution(low, high)
    raise AssertionError(f"{knob!r} is not drawn")
