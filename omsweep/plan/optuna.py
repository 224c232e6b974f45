"""Adaptive search (`mode: search`): one Optuna study per family, families in turn, both objectives told.

Ray's own OptunaSearch never tells a trial whose objective is missing, so such a trial stays RUNNING in its study for
ever; here both objectives finite means COMPLETE and everything else means FAIL.
"""

import itertools
import math
import warnings
from collections.abc import Mapping
from typing import Any

import optuna
from optuna.trial import TrialState

from omsweep.plan.starting_points import live_knobs, plan, startup_trials, trial_count
from omsweep.space.branches import Branch
from omsweep.space.knobs import Choice, Fixed, Integer, Interval, Knob, Scalar
from omsweep.space.samples import make_sample
from omsweep.space.search_space import SearchSpace
from omsweep.space.specs import trial_spec
from omsweep.store.records import TrialSpec


class StudyProposer:
    """Proposes trials from one study per family over ask and tell, families in turn; knobs are named by key path."""

    def __init__(self, space: SearchSpace) -> None:
        self._space = space
        self._total = trial_count(space)
        self._families = itertools.cycle(space.family_names)
        self._started = 0
        self._asked: dict[str, tuple[str, optuna.Trial]] = {}
        self.studies = {name: _study(space, i) for i, name in enumerate(space.family_names)}

    def next(self) -> TrialSpec | None:
        """The next trial, or None once every trial was started."""
        if self._started == self._total:
            return None
        family = next(self._families)
        trial = self.studies[family].ask()
        branch, values = suggest_values(self._space, trial)
        proposal = self._proposal(family, trial)
        sample = make_sample(
            self._space,
            branch,
            values,
            trial_id=f"{family}-{trial.number:03d}-{branch.label}",
            family=family,
            block=None,
            seed=self._space.search.seed,
            baseline=proposal == "baseline",
        )
        spec = trial_spec(self._space, {**sample, "proposal": proposal})
        self._asked[spec.trial_id] = family, trial
        self._started += 1
        return spec

    def tell(self, trial_id: str, outcome: Mapping[str, Any] | None) -> None:
        """Tell the study: COMPLETE where both objectives are finite, else FAIL."""
        family, trial = self._asked.pop(trial_id)
        values = None if outcome is None else objective_values(self._space, outcome)
        state = TrialState.FAIL if values is None else TrialState.COMPLETE
        self.studies[family].tell(trial, values, state=state)

    def _proposal(self, family: str, trial: optuna.Trial) -> str:
        enqueued = trial.user_attrs.get("proposal")
        if enqueued:
            return enqueued
        done = len(self.studies[family].get_trials(deepcopy=False, states=(TrialState.COMPLETE,)))
        model_based = self._space.search.algorithm == "tpe" and done >= startup_trials(self._space)
        return "model" if model_based else "random"


def objective_values(space: SearchSpace, record: Mapping[str, Any]) -> tuple[float, float] | None:
    """(reward, tax) of a finished trial, None unless both are finite numbers and the trial completed."""
    if record.get("state") != "completed":
        return None
    values = record.get(space.file.objectives.reward), record.get(space.file.objectives.tax)
    finite = [float(v) for v in values if isinstance(v, int | float) and math.isfinite(v)]
    return (finite[0], finite[1]) if len(finite) == 2 else None


def suggest_values(space: SearchSpace, trial: optuna.Trial) -> tuple[Branch, dict[str, Scalar]]:
    """Draw the method, then the knobs that are alive under it (a branch's override replaces the shared knob)."""
    label = trial.suggest_categorical("method", [branch.label for branch in space.branches])
    branch = next(b for b in space.branches if b.label == label)
    return branch, {name: _suggest(trial, path, knob) for name, (path, knob) in live_knobs(space, branch).items()}


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


def _study(space: SearchSpace, index: int) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(directions=["maximize", "minimize"], sampler=_sampler(space, space.search.seed + index))
    for point in plan(space):
        study.enqueue_trial(dict(point.params), user_attrs={"proposal": point.proposal})
    return study


def _sampler(space: SearchSpace, seed: int) -> optuna.samplers.BaseSampler:
    if space.search.algorithm != "tpe":
        return optuna.samplers.RandomSampler(seed=seed)
    with warnings.catch_warnings():  # multivariate, group and constant_liar are marked experimental
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return optuna.samplers.TPESampler(
            multivariate=True,
            group=True,
            constant_liar=True,
            n_startup_trials=startup_trials(space),
            seed=seed,
        )
