"""Adaptive search (`mode: search`): one Optuna study per family, families in turn, both objectives told.

Ray's own OptunaSearch never tells a trial whose objective is missing, so such a trial stays RUNNING in its study for
ever; here every end is told (`omsweep.plan.told`).
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

import optuna
from optuna.samplers import RandomSampler

from omsweep.plan.earlier import Earlier, read_earlier
from omsweep.plan.family_study import FamilyStudy, Start, completed, front_params
from omsweep.plan.forking import numbered
from omsweep.plan.parameters import METHOD, Params, drawn_knobs, suggest_values
from omsweep.plan.proposer import Proposal
from omsweep.plan.replicates import Recipe, most_telling
from omsweep.plan.samplers import draw, tpe
from omsweep.plan.starting_points import shares, startup_trials, trial_count
from omsweep.space.reads import search_seeds
from omsweep.space.samples import make_sample
from omsweep.space.search_space import SearchSpace
from omsweep.space.specs import trial_spec
from omsweep.store.state import SweepState, TrialState


class StudyProposer:
    """Proposes trials from one study per family over ask and tell, families in turn; knobs are named by key path.

    A proposal depends on the seed, its number and what the study knows, so that a search that goes on in another
    process proposes what it would have proposed undisturbed. Trials that were taken over from an earlier sweep are in
    the studies first and not among the search's own; own trials are numbered after that sweep's. A recipe that its
    family has had is trained with another training seed.

    Args:
        space: of the search.
        state: what it goes on from; its trials are in the studies as they would be had it never stopped.
        say: is told what of `search.warm_start` is left out.

    Raises:
        SpaceError: a sweep of `search.warm_start` cannot be read.
    """

    def __init__(
        self, space: SearchSpace, state: SweepState | None = None, say: Callable[[str], None] = lambda text: None
    ) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._space, self._say = space, say
        state = SweepState() if state is None else state
        total = trial_count(space)
        self._shares, self._explored = shares(space, total), shares(space, total - space.search.replicates)
        self._seeds = search_seeds(space)
        past: dict[str, list[TrialState]] = {name: [] for name in space.family_names}
        for trial in state.proposed():
            if trial.drawn is not None:
                past[trial.fields["family"]].append(trial)
        numbers = numbered(state)
        self._families: dict[str, FamilyStudy] = {}
        for name, trials in past.items():
            noted = [trial.drawn["start"] for trial in trials if trial.drawn and "start" in trial.drawn]
            start = noted[0] if noted else self._known_from_the_start(name)
            self._families[name] = FamilyStudy(space, numbers.get(name, 0), start, trials)
        for trial in state.ended():  # in this order, so that sums over results are the same to the last bit
            if trial.drawn is not None:
                self._families[trial.fields["family"]].note(trial.trial_id, trial.outcome)
        self._family_of = {one.trial_id: name for name, trials in past.items() for one in trials}

    @property
    def studies(self) -> Mapping[str, optuna.Study]:
        """By family."""
        return {name: one.study for name, one in self._families.items()}

    def next(self) -> Proposal | None:
        """The next trial, or None once every trial was started."""
        left = self.left()
        if not left:
            return None
        first = self._space.search.transfer_from
        name = first if first is not None and first in left else min(left, key=lambda one: self._families[one].started)
        family = self._families[name]
        noted = {} if family.points is not None else self._begin(family)
        trial, proposal = self._ask(name, family)
        branch, values = suggest_values(self._space, trial)
        recipe = family.recipe(trial.params)
        proposal = "replicate" if recipe.seeds else proposal
        seed = next((one for one in self._seeds if one not in recipe.seeds), self._seeds[-1])
        sample = make_sample(
            self._space,
            branch,
            values,
            trial_id=f"{name}-{family.number:03d}-{branch.label}",
            family=name,
            block=None,
            seed=seed,
            baseline=proposal == "baseline",
        )
        spec = trial_spec(self._space, {**sample, "proposal": proposal})
        family.enter(trial, spec.trial_id, seed, proposal)
        self._family_of[spec.trial_id] = name
        # the sampler reads its own attributes of other trials
        system = {key: value for key, value in family.trial(trial.number).system_attrs.items() if key != "fixed_params"}
        return Proposal(spec, {"params": dict(trial.params), "proposal": proposal, "system": system, **noted})

    def tell(self, trial_id: str, outcome: Mapping[str, Any] | None) -> None:
        """Tell the study how a trial ended."""
        self._families[self._family_of[trial_id]].tell(trial_id, outcome)

    def left(self) -> Mapping[str, int]:
        """How many trials are still to come, by family."""
        return +Counter({name: self._shares[name] - family.started for name, family in self._families.items()})

    def _ask(self, name: str, family: FamilyStudy) -> tuple[optuna.Trial, str]:
        """A trial of the family's study whose parameters are drawn or fixed, and why."""
        space, study, points = self._space, family.study, family.points
        seed = _sampler_seed(space, space.family_names.index(name), family.number)
        study.sampler = RandomSampler(seed=seed)
        given, proposal, system = dict[str, Any](), "random", dict[str, Any]()
        if (repeated := self._worth_repeating(name)) is not None:
            given, proposal = dict(repeated.params), "replicate"
        elif points:
            point = points.popleft()
            given, proposal = dict(point.params), point.proposal
        source = None if self._is_whole(given) else self._source(family)
        if source is not None and source is study and space.search.algorithm == "tpe":
            study.sampler = tpe(seed)
            proposal = "model" if proposal == "random" else proposal
        elif source is not None:
            drawn = draw(space, source, seed, given)
            if len(family.recipe(drawn.params).seeds) < len(self._seeds):  # else it is drawn at random
                given, system = drawn.params, dict(drawn.system)
                learnt = "model" if source is study else "transfer"
                proposal = learnt if proposal == "random" else proposal
        if given:
            study.enqueue_trial(given)
        trial = study.ask()
        for key, value in system.items():
            trial.storage.set_trial_system_attr(trial._trial_id, key, value)
        return trial, proposal

    def _source(self, family: FamilyStudy) -> optuna.Study | None:
        """The study whose results propose now: the family's own, else the one it learns from; None for chance."""
        if not self._space.search.learns:
            return None
        enough = startup_trials(self._space)
        return next((one for one in (family.study, self._other(family)) if len(completed(one)) >= enough), None)

    def _other(self, family: FamilyStudy) -> optuna.Study:
        """The study of `search.transfer_from`."""
        source = self._families.get(str(self._space.search.transfer_from))
        return family.other if source is None else source.study

    def _worth_repeating(self, name: str) -> Recipe | None:
        """The recipe that a trial at the end of the search repeats; None before, and where there is no result."""
        family, point = self._families[name], self._space.file.objectives.reference_point
        if family.started < self._explored[name]:
            return None
        return most_telling(list(family.recipes.values()), (point.tax, -point.reward))

    def _is_whole(self, given: Params) -> bool:
        branch = next((one for one in self._space.branches if one.label == given.get(METHOD)), None)
        return branch is not None and given.keys() >= drawn_knobs(self._space, branch).keys()

    def _begin(self, family: FamilyStudy) -> dict[str, Any]:
        """Line up a family's starting points; what its first own trial notes of what was known before."""
        noted = {}
        if family.started == 0 and (self._space.search.warm_start or self._space.search.transfer_from):
            other = self._other(family)
            points = [] if other is family.study else front_params(other, startup_trials(self._space))
            family.start = {**family.start, "points": points}
            noted = {"start": family.start}
        family.line_up()
        return noted

    def _known_from_the_start(self, name: str) -> Start:
        search = self._space.search
        if not search.warm_start:
            return {}
        elsewhere = search.transfer_from is not None and search.transfer_from not in self._space.family_names
        source = self._earlier.known[str(search.transfer_from)] if elsewhere else []
        return {"known": self._earlier.known[name], "source": source}

    @cached_property
    def _earlier(self) -> Earlier:
        found = read_earlier(self._space)
        for line in found.left_out:
            self._say(line)
        return found


def _sampler_seed(space: SearchSpace, family: int, number: int) -> int:
    """Of one proposal's sampler: its random numbers depend on the seed, the family and the number alone."""
    place = f"{space.search.seed}/{family}/{number}"
    return int.from_bytes(hashlib.sha256(place.encode()).digest()[:4], "big")
