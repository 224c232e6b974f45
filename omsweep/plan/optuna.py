"""Adaptive search (`mode: search`): one Optuna study per family, families in turn, both objectives told.

Ray's own OptunaSearch never tells a trial whose objective is missing, so such a trial stays RUNNING in its study for
ever; here both objectives finite means COMPLETE and everything else means FAIL.
"""

import hashlib
import math
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import optuna
from optuna.trial import TrialState as OptunaState

from omsweep.plan.forking import FORKED, forked_trials, numbered
from omsweep.plan.proposer import Proposal
from omsweep.plan.starting_points import live_knobs, plan, startup_trials, trial_count
from omsweep.space.branches import Branch
from omsweep.space.knobs import Choice, Fixed, Integer, Interval, Knob, Scalar
from omsweep.space.samples import make_sample
from omsweep.space.search_space import SearchSpace
from omsweep.space.specs import trial_spec
from omsweep.store.state import SweepState, TrialState


class StudyProposer:
    """Proposes trials from one study per family over ask and tell, families in turn; knobs are named by key path.

    A proposal depends on the seed, its number and what the study knows, so that a search that goes on in another
    process proposes what it would have proposed undisturbed. Trials that were taken over from an earlier sweep are in
    the studies first and not among the search's own; own trials are numbered after that sweep's.

    Args:
        space: of the search.
        state: what it goes on from; its trials are in the studies as they would be had it never stopped.
    """

    def __init__(self, space: SearchSpace, state: SweepState | None = None) -> None:
        self._space = space
        self._total = trial_count(space)
        state = SweepState() if state is None else state
        self._numbers = dict.fromkeys(space.family_names, 0) | numbered(state)
        self._asked: dict[str, tuple[str, int]] = {}
        known: dict[str, list[TrialState]] = {name: [] for name in space.family_names}
        for trial in state.proposed():
            if trial.drawn is not None:
                known[trial.fields["family"]].append(trial)
        self._started = sum(map(len, known.values())) - forked_trials(state)
        self.studies = {name: self._study(name, known[name]) for name in space.family_names}

    def next(self) -> Proposal | None:
        """The next trial, or None once every trial was started."""
        if self._started >= self._total:
            return None
        names = self._space.family_names
        family = names[self._started % len(names)]
        study = self.studies[family]
        number = self._numbers[family]
        study.sampler = _sampler(self._space, names.index(family), number)
        trial = study.ask()
        branch, values = suggest_values(self._space, trial)
        proposal = self._proposal(family, trial)
        sample = make_sample(
            self._space,
            branch,
            values,
            trial_id=f"{family}-{number:03d}-{branch.label}",
            family=family,
            block=None,
            seed=self._space.search.seed,
            baseline=proposal == "baseline",
        )
        spec = trial_spec(self._space, {**sample, "proposal": proposal})
        self._asked[spec.trial_id] = family, trial.number
        self._started += 1
        self._numbers[family] += 1
        # the sampler reads its own attributes of trials that run
        known = study.get_trials(deepcopy=False)[trial.number]
        return Proposal(spec, {"params": dict(known.params), "proposal": proposal, "system": dict(known.system_attrs)})

    def tell(self, trial_id: str, outcome: Mapping[str, Any] | None) -> None:
        """Tell the study: COMPLETE where both objectives are finite, else FAIL."""
        family, number = self._asked[trial_id]
        values = None if outcome is None else objective_values(self._space, outcome)
        self.studies[family].tell(number, values, state=OptunaState.FAIL if values is None else OptunaState.COMPLETE)

    def left(self) -> Mapping[str, int]:
        """How many trials are still to come, by family."""
        names = self._space.family_names
        return Counter(names[number % len(names)] for number in range(self._started, self._total))

    def _study(self, family: str, known: Sequence[TrialState]) -> optuna.Study:
        """A family's study with the trials it has had and, waiting, the starting points that are left.

        A starting point that a trial taken over fulfils is not run again.
        """
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        study = optuna.create_study(directions=["maximize", "minimize"])
        for number, trial in enumerate(known):
            study.add_trial(_known_trial(self._space, trial))
            self._asked[trial.trial_id] = family, number
        forked = [one.drawn["params"] for one in known if one.drawn and one.drawn["proposal"] == FORKED]
        points = [
            one for one in plan(self._space) if not any(one.params.items() <= params.items() for params in forked)
        ]
        for point in points[len(known) - len(forked) :]:
            study.enqueue_trial(dict(point.params), user_attrs={"proposal": point.proposal})
        return study

    def _proposal(self, family: str, trial: optuna.Trial) -> str:
        enqueued = trial.user_attrs.get("proposal")
        if enqueued:
            return enqueued
        done = len(self.studies[family].get_trials(deepcopy=False, states=(OptunaState.COMPLETE,)))
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


def _known_trial(space: SearchSpace, trial: TrialState) -> optuna.trial.FrozenTrial:
    drawn = trial.drawn or {}
    values = None if trial.outcome is None else objective_values(space, trial.outcome)
    running = trial.outcome is None
    return optuna.trial.create_trial(
        state=OptunaState.RUNNING if running else OptunaState.FAIL if values is None else OptunaState.COMPLETE,
        values=values,
        params=drawn["params"],
        distributions=_distributions(space, drawn["params"]),
        user_attrs={"proposal": drawn["proposal"]},
        system_attrs=dict(drawn["system"]),
    )


def _distributions(space: SearchSpace, params: Mapping[str, Any]) -> dict[str, optuna.distributions.BaseDistribution]:
    """What `suggest_values` drew these parameters from."""
    branch = next(one for one in space.branches if one.label == params["method"])
    knobs = {path: knob for path, knob in live_knobs(space, branch).values() if path in params}
    labels = optuna.distributions.CategoricalDistribution([one.label for one in space.branches])
    return {"method": labels, **{path: _distribution(knob) for path, knob in knobs.items()}}


def _distribution(knob: Knob) -> optuna.distributions.BaseDistribution:
    match knob:
        case Choice(values):
            return optuna.distributions.CategoricalDistribution(values)
        case Interval(low, high, log):
            return optuna.distributions.FloatDistribution(low, high, log=log)
        case Integer(low, high):
            return optuna.distributions.IntDistribution(low, high)
    raise AssertionError(f"{knob!r} is not drawn")


def _sampler(space: SearchSpace, family: int, number: int) -> optuna.samplers.BaseSampler:
    """The sampler of one proposal: its random numbers depend on the seed, the family and the number alone."""
    place = f"{space.search.seed}/{family}/{number}"
    seed = int.from_bytes(hashlib.sha256(place.encode()).digest()[:4], "big")
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
