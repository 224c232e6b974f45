"""One family's study and what a search did in it: trials, recipes, starting points."""

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

import optuna
from optuna.samplers import RandomSampler
from optuna.trial import FrozenTrial
from optuna.trial import TrialState as OptunaState

from omsweep.pareto.dominance import front
from omsweep.plan.forking import FORKED
from omsweep.plan.parameters import Params, distributions, recipe_key
from omsweep.plan.replicates import Recipe, Result
from omsweep.plan.samplers import DIRECTIONS
from omsweep.plan.starting_points import Point, plan
from omsweep.plan.told import told
from omsweep.space.search_space import SearchSpace
from omsweep.store.state import TrialState

EARLIER = "earlier"
"""`proposal` of trials of earlier sweeps in a study."""
Start = Mapping[str, Any]
"""What a family's first own proposal notes of what was known then, plain data: `known` trials of earlier sweeps, those
of the family that is learnt from where it has no study of its own (`source`), and starting `points` from either."""


class FamilyStudy:
    """A family's study: trials of earlier sweeps, then those that were taken over, then the search's own.

    Attributes:
        study: Optuna's.
        start: what was known before its first own trial.
        other: a study of `start["source"]`.
        recipes: its recipes by `recipe_key`, in the order they were proposed.
        started: how many of the search's own trials it has.
        number: of its next one.
        points: starting points that are left; None before the first own trial is asked for.

    Args:
        space: of the search.
        number: of its next trial.
        start: as the attribute.
        past: its trials so far, those that were taken over first.
    """

    def __init__(self, space: SearchSpace, number: int, start: Start, past: Sequence[TrialState]) -> None:
        self._space = space
        self.start, self.number = start, number
        self.study = _study(space, start.get("known", ()))
        self.other = _study(space, start.get("source", ()))
        self.recipes: dict[Any, Recipe] = {}
        self.started = 0
        self.points: deque[Point] | None = None
        self._taken_over: list[Params] = []
        self._numbers: dict[str, int] = {}
        for place, trial in enumerate(past, start=len(start.get("known", ()))):
            frozen = _known_trial(space, trial)
            self.study.add_trial(frozen)
            forked = frozen.user_attrs["proposal"] == FORKED
            self._taken_over += [frozen.params] if forked else []
            self._enter(trial.trial_id, place, frozen.params, int(trial.fields["seed"]), own=not forked)

    def trial(self, number: int) -> FrozenTrial:
        """A trial of its study, not to be changed."""
        return self.study.get_trials(deepcopy=False)[number]

    def enter(self, trial: optuna.Trial, trial_id: str, seed: int, proposal: str) -> None:
        """Note an own trial that was asked for."""
        for key, value in {"proposal": proposal, "trial_id": trial_id, "seed": seed}.items():
            trial.set_user_attr(key, value)
        self._enter(trial_id, trial.number, trial.params, seed, own=True)
        self.number += 1

    def tell(self, trial_id: str, outcome: Mapping[str, Any] | None) -> None:
        """Tell the study how a trial ended."""
        number, end = self._numbers[trial_id], told(self._space, outcome)
        self.study.sampler = RandomSampler(seed=0)  # draws nothing here
        trial = optuna.Trial(self.study, self.trial(number)._trial_id)
        for key, value in end.constraints.items():
            trial.set_constraint(key, value)
        self.study.tell(number, end.values, state=OptunaState[end.state])
        self.note(trial_id, outcome)

    def note(self, trial_id: str, outcome: Mapping[str, Any] | None) -> None:
        """Note how a trial ended with its recipe."""
        end = told(self._space, outcome)
        recipe = self.recipe(self.trial(self._numbers[trial_id]).params)
        recipe.running -= 1
        if end.values is not None:
            recipe.results.append(Result((end.values[1], -end.values[0]), end.item_variances))
            recipe.violates |= any(outside > 0 for outside in end.constraints.values())

    def recipe(self, params: Params) -> Recipe:
        """The recipe with these parameters, one without seeds where it has had none."""
        return self.recipes.get(recipe_key(params), Recipe(dict(params)))

    def line_up(self) -> None:
        """Line up the starting points that are left; one that a trial which was taken over fulfils is not run again."""
        planned = plan(self._space)
        known = [point.params for point in planned]
        transferred = [Point(one, "transfer") for one in self.start.get("points", ()) if one not in known]
        baselines = [point for point in planned if point.proposal == "baseline"]
        points = [*baselines, *transferred, *planned[len(baselines) :]]
        left = [one for one in points if not any(one.params.items() <= params.items() for params in self._taken_over)]
        self.points = deque(left[self.started :])

    def _enter(self, trial_id: str, number: int, params: Params, seed: int, *, own: bool) -> None:
        self._numbers[trial_id] = number
        recipe = self.recipes.setdefault(recipe_key(params), Recipe(dict(params)))
        recipe.seeds.add(seed)
        recipe.running += 1
        self.started += own


def completed(study: optuna.Study) -> list[FrozenTrial]:
    """Trials with both objectives."""
    return study.get_trials(deepcopy=False, states=(OptunaState.COMPLETE,))


def front_params(study: optuna.Study, most: int) -> list[dict[str, Any]]:
    """Recipes on the front of a study, by tax; of more than `most` some, evenly along it."""
    inside = [one for one in completed(study) if all(value <= 0 for value in one.constraints.values())]
    mask = front([(one.values[1], -one.values[0]) for one in inside])
    members = sorted((o for o, on in zip(inside, mask, strict=True) if on), key=lambda o: (o.values[1], o.number))
    recipes = list({recipe_key(one.params): dict(one.params) for one in members}.values())
    if len(recipes) <= most:
        return recipes
    return [recipes[round(i * (len(recipes) - 1) / max(1, most - 1))] for i in range(most)]


def _study(space: SearchSpace, known: Sequence[Mapping[str, Any]]) -> optuna.Study:
    study = optuna.create_study(directions=DIRECTIONS)
    for one in known:
        trial = optuna.trial.create_trial(
            values=one["values"],
            params=one["params"],
            distributions=distributions(space, one["params"]),
            user_attrs={"proposal": EARLIER, "trial_id": one["of"]},
            constraints=one["constraints"],
        )
        study.add_trial(trial)
    return study


def _known_trial(space: SearchSpace, trial: TrialState) -> FrozenTrial:
    drawn = trial.drawn or {}
    end = None if trial.outcome is None else told(space, trial.outcome)
    return optuna.trial.create_trial(
        state=OptunaState.RUNNING if end is None else OptunaState[end.state],
        values=None if end is None else end.values,
        params=drawn["params"],
        distributions=distributions(space, drawn["params"]),
        user_attrs={"proposal": drawn["proposal"], "trial_id": trial.trial_id, "seed": trial.fields["seed"]},
        system_attrs=dict(drawn["system"]),
        constraints=None if end is None else dict(end.constraints),
    )
