"""Which knobs matter for reward, for tax, and for being on the front: PED-ANOVA over a family's trained trials.

PED-ANOVA (Watanabe, Bansal and Hutter, arXiv:2304.10255; conditional knobs: arXiv:2601.20800), as Optuna computes it:
how much the distribution of a knob among the best trials differs from that among all. It finds knobs of which some
values are worse than others, and does not say which, nor that a change of the knob causes the difference.
"""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from omsweep.pareto.sorting import contributions, front_numbers
from omsweep.plan.starting_points import live_knobs
from omsweep.results.objectives import Objectives
from omsweep.results.view import SweepView
from omsweep.space.knobs import Choice, Fixed, Integer, Interval, Knob
from omsweep.space.search_space import SearchSpace
from omsweep.store.records import TrialRecord

if TYPE_CHECKING:
    import optuna

BEST = 0.2
"""Share of the trials that count as the best ones."""
NEEDED = 30
"""Trials of a family below which nothing is shown: six best ones, where Optuna asks for five at least."""
MOST = 1500
"""Trials of a family that are looked at, evenly over the sweep: more say the same and take longer."""
SHUFFLES = 30
"""How often results are dealt to recipes at random, to see what importance chance alone gives."""
TARGETS = ("reward", "tax", "front")
METHOD = "method"


@dataclass(frozen=True, kw_only=True)
class Importance:
    """How much a knob matters for one target.

    Attributes:
        target: one of `TARGETS`.
        knob: as a study parameter, by key path.
        share: of the importance of all knobs.
        chance: the most it had in `SHUFFLES` shuffles of the results, in the unit of `share`; below, it shows nothing.
    """

    target: str
    knob: str
    share: float
    chance: float

    @property
    def shown(self) -> bool:
        """Whether it is more than chance alone gave."""
        return self.share > self.chance


@dataclass(frozen=True, kw_only=True)
class Importances:
    """The knobs of a family, for each of `TARGETS` the most important first; or in `missing` why there are none."""

    family: str
    trials: int
    knobs: Sequence[Importance] = ()
    missing: str | None = None


def importances_of(view: SweepView, family: str, space: SearchSpace | None) -> Importances:
    """Which knobs matter in a family.

    Args:
        view: of the sweep.
        family: one of its families.
        space: its search space; None where this omsweep cannot read it.
    """
    trials = [trial for trial in view.scored(family) if trial.kind == "trained" and trial.task_vector == "real"]
    if space is None:
        return Importances(family=family, trials=len(trials), missing="this omsweep cannot read the search space")
    drawn = [(trial, drawn_by(space, trial)) for trial in trials]
    points = [(trial, params) for trial, params in drawn if params]
    if len(points) < NEEDED:
        needs = f"needs {NEEDED} trained trials that have both objectives, {family} has {len(points)}"
        return Importances(family=family, trials=len(points), missing=needs)
    points = points[:: -(-len(points) // MOST)]
    order = ranks([trial for trial, _ in points], view.objectives)
    knobs = _importances([params for _, params in points], order)
    missing = None if knobs else "no knob has two values"
    return Importances(family=family, trials=len(points), knobs=knobs, missing=missing)


def drawn_by(space: SearchSpace, trial: TrialRecord) -> dict[str, tuple[Any, Knob]]:
    """By study parameter what a trial drew and what from, its branch as `METHOD`; nothing of a branch that is gone.

    Where a design has a ladder of doses the learning rate is one of them too.
    """
    branch = next((one for one in space.branches if one.label == trial.label), None)
    if branch is None:
        return {}
    labels = Choice(tuple(dict.fromkeys(one.label for one in space.branches)))
    found: dict[str, tuple[Any, Knob]] = {METHOD: (branch.label, labels)} if len(labels.values) > 1 else {}
    for name, (path, knob) in live_knobs(space, branch).items():
        value = trial.params.get(name, getattr(trial, name, None))
        if not isinstance(knob, Fixed) and value is not None:
            found[path] = (value, knob)
    if trial.dose is not None:
        found["dose"] = (trial.dose, Choice(tuple(space.design.ladder)))
    return found


def ranks(trials: Sequence[TrialRecord], objectives: Objectives) -> dict[str, NDArray[np.float64]]:
    """By target the number of each trial in the order from the best, [N].

    For the front: by number of its front once those before it are taken away, within one by what it alone adds to the
    hypervolume.
    """
    losses = objectives.losses(trials)
    fronts = front_numbers(losses)
    added = contributions(losses, fronts, objectives.reference_losses)
    keys = {"reward": (losses[:, 1],), "tax": (losses[:, 0],), "front": (-added, fronts)}
    found = {}
    for target in TARGETS:
        found[target] = np.empty(len(losses))
        found[target][np.lexsort(keys[target])] = np.arange(len(losses))
    return found


def _importances(
    points: Sequence[Mapping[str, tuple[Any, Knob]]], order: Mapping[str, NDArray[np.float64]]
) -> list[Importance]:
    study = _study(points)
    names = sorted({path for params in points for path in params})
    random = np.random.default_rng(0)
    shuffles = [random.permutation(len(points)) for _ in range(SHUFFLES)]
    found = []
    by_chance = [_evaluated(study, names, shuffle.astype(np.float64)) for shuffle in shuffles]
    chance = {name: max(one[name] for one in by_chance) for name in names}
    for target, numbers in order.items():
        values = _evaluated(study, names, numbers)
        whole = sum(values.values())
        of_target = [
            Importance(target=target, knob=name, share=values[name] / whole, chance=chance[name] / whole)
            for name in (names if whole else ())
        ]
        found += sorted(of_target, key=lambda knob: -knob.share)
    return found


def _evaluated(study: "optuna.Study", names: Sequence[str], numbers: NDArray[np.float64]) -> dict[str, float]:
    """PED-ANOVA of the trials that have the least of these numbers."""
    from optuna.importance import PedAnovaImportanceEvaluator

    evaluator = PedAnovaImportanceEvaluator(target_quantile=BEST)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that low numbers are the good ones, and knobs of methods with few trials
        return evaluator.evaluate(study, list(names), target=lambda trial: float(numbers[trial.number]))


def _study(points: Sequence[Mapping[str, tuple[Any, Knob]]]) -> "optuna.Study":
    """The recipes as trials of a study, in their order; ranges as wide as what was drawn from them."""
    import optuna
    from optuna.distributions import (
        BaseDistribution,
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )

    def distribution(path: str, knob: Knob) -> BaseDistribution:
        values = [params[path][0] for params in points if path in params]
        match knob:
            case Interval(low, high, log):
                return FloatDistribution(min(low, *values), max(high, *values), log=log)
            case Integer(low, high):
                return IntDistribution(min(low, *values), max(high, *values))
            case _:
                assert isinstance(knob, Choice)
                return CategoricalDistribution(tuple(dict.fromkeys([*knob.values, *values])))

    knobs = {path: knob for params in points for path, (_, knob) in params.items()}
    spaces = {path: distribution(path, knob) for path, knob in knobs.items()}
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study()
    for params in points:
        drawn = {path: value for path, (value, _) in params.items()}
        within = {path: spaces[path] for path in drawn}
        study.add_trial(optuna.trial.create_trial(params=drawn, distributions=within, value=0.0))
    return study
