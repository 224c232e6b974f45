"""Which recipe an Optuna sampler proposes: a function of the search space, a study and a seed, and of nothing else.

Optuna's samplers may keep what they worked out for earlier proposals. Here each proposal has a sampler of its own, so
that a search that goes on in another process proposes what it would have proposed undisturbed.
"""

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, GPSampler, NSGAIISampler, TPESampler
from optuna.trial import FrozenTrial
from optuna.trial import TrialState as OptunaState

from omsweep.plan.parameters import (
    METHOD,
    Params,
    drawn_knobs,
    every_knob,
    own,
    suggest_values,
    whole,
    whole_distributions,
)
from omsweep.plan.starting_points import startup_trials
from omsweep.space.search_space import SearchSpace

if TYPE_CHECKING:
    import torch

DIRECTIONS = ("maximize", "minimize")
"""Of reward and tax."""
GENERATION = NSGAIISampler._get_generation_key()
MIDDLE = 0.5
MOST_PENDING = 32
"""Stopped trials that the Gaussian process counts as pending, the latest: its work grows with them."""


class Draw(NamedTuple):
    """Parameters that were proposed, and what the sampler wants to know of this trial later."""

    params: dict[str, Any]
    system: Mapping[str, Any]


def tpe(seed: int) -> BaseSampler:
    """TPE over each group of parameters that occur together; it takes trials that run as bad ones."""
    with warnings.catch_warnings():  # group is marked experimental
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return TPESampler(multivariate=True, group=True, constant_liar=True, n_startup_trials=0, seed=seed)


def draw(space: SearchSpace, study: optuna.Study, seed: int, given: Params) -> Draw:
    """What the search's algorithm proposes from a study's results, which stay as they are.

    Args:
        space: of the search.
        study: with at least one finished trial.
        seed: of the sampler.
        given: parameters that are not its choice.
    """
    trials = study.get_trials(deepcopy=False)
    match space.search.algorithm:
        case "nsga2":
            sampler: BaseSampler = NSGAIISampler(population_size=max(2, startup_trials(space)), seed=seed)
            trials = list(_with_genes(space, trials))
        case "gp":
            sampler = _BranchGP(space, seed)
            trials = list(_with_pending(space, trials))
        case _:
            sampler = tpe(seed)
    copy = optuna.create_study(directions=DIRECTIONS, sampler=sampler)
    copy.add_trials(trials)
    if given:
        copy.enqueue_trial(dict(given))
    trial = copy.ask(None if space.search.algorithm == "tpe" else whole_distributions(space))
    suggest_values(space, trial)
    known = copy.get_trials(deepcopy=False)[trial.number].system_attrs
    return Draw(own(space, trial.params), {key: known[key] for key in (GENERATION,) if key in known})


def _with_genes(space: SearchSpace, trials: Iterable[FrozenTrial]) -> Iterator[FrozenTrial]:
    """Finished trials as individuals: a child may get any parameter of either parent, whatever their branches are.

    What a trial's branch does not have is drawn at random, by the trial's number. Trials without a generation, those
    that were proposed before there was a model, are of the first.
    """
    knobs, distributions = every_knob(space), whole_distributions(space)
    for trial in trials:
        if trial.state == OptunaState.COMPLETE:
            genes = np.random.default_rng([space.search.seed, trial.number]).random
            generation = {GENERATION: trial.system_attrs.get(GENERATION, 0)}
            yield _filled(trial, trial.state, whole(knobs, trial.params, genes), distributions, generation)


def _with_pending(space: SearchSpace, trials: Sequence[FrozenTrial]) -> Iterator[FrozenTrial]:
    """Finished trials, and those that run or were stopped as pending.

    What a stopped trial would have scored at its end is not known. As pending it has no value, but what could be gained
    beside it is counted as being looked for already.
    """
    knobs, distributions = every_knob(space), whole_distributions(space)
    stopped = [trial.number for trial in trials if trial.state == OptunaState.PRUNED][-MOST_PENDING:]
    for trial in trials:
        pending = trial.state == OptunaState.RUNNING or trial.number in stopped
        if pending or trial.state == OptunaState.COMPLETE:
            state = OptunaState.RUNNING if pending else OptunaState.COMPLETE
            yield _filled(trial, state, whole(knobs, trial.params, lambda: MIDDLE), distributions, {})


def _filled(
    trial: FrozenTrial,
    state: OptunaState,
    params: dict[str, Any],
    distributions: dict[str, BaseDistribution],
    system: dict[str, Any],
) -> FrozenTrial:
    return optuna.trial.create_trial(
        state=state,
        values=trial.values if state == OptunaState.COMPLETE else None,
        params=params,
        distributions=distributions,
        system_attrs=system,
        constraints=trial.constraints,
    )


class _BranchGP(GPSampler):
    """A Gaussian process over the parameters of all branches that compares recipes which can be proposed.

    Parameters that a branch does not have lie in the middle, in the data and wherever the acquisition is evaluated.
    """

    def __init__(self, space: SearchSpace, seed: int) -> None:
        super().__init__(seed=seed, n_startup_trials=1, warn_independent_sampling=False)
        self._space = space
        self._names: list[str] = []

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """As the base class; the names' order is that of the acquisition's columns."""
        found = super().infer_relative_search_space(study, trial)
        self._names = list(found)
        return found

    def _optimize_acqf(self, acqf: Any, best_params: np.ndarray | None) -> np.ndarray:
        if METHOD in self._names:  # else there is one branch, which has every parameter
            acqf = _OnBranches(acqf, self._space, self._names)
        return super()._optimize_acqf(acqf, best_params)


class _OnBranches:
    """An acquisition function that sees every point as its branch has it; the interface Optuna's optimiser uses."""

    def __init__(self, acquisition: Any, space: SearchSpace, names: Sequence[str]) -> None:
        import torch

        self._acquisition = acquisition
        self.search_space, self.length_scales = acquisition.search_space, acquisition.length_scales
        middle = whole(every_knob(space), {METHOD: space.branches[0].label}, lambda: MIDDLE)
        self._middle = torch.from_numpy(self.search_space.get_normalized_params([None], [middle])[0])
        alive = [{METHOD, *drawn_knobs(space, branch)} for branch in space.branches]
        self._alive = torch.tensor([[name in live for name in names] for live in alive])
        self._method = list(names).index(METHOD)

    def eval_acqf(self, x: "torch.Tensor") -> "torch.Tensor":
        """The acquisition's logarithm at points `[..., D]`."""
        alive = self._alive[x[..., self._method].detach().long()]
        return self._acquisition.eval_acqf(alive * x + ~alive * self._middle)

    def eval_acqf_no_grad(self, x: np.ndarray) -> np.ndarray:
        """The same in numpy."""
        import torch

        with torch.no_grad():
            return self.eval_acqf(torch.from_numpy(x)).numpy()
