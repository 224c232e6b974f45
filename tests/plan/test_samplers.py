"""What a sampler proposes from a study: of its branch alone, from what the study knows; the study stays as it is."""

from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from omsweep.plan.parameters import distributions
from omsweep.plan.samplers import DIRECTIONS, GENERATION, draw
from omsweep.space.build import build_space
from omsweep.space.search_space import SearchSpace


def study_of(space: SearchSpace, trials: list[dict[str, Any]], state: TrialState = TrialState.COMPLETE) -> optuna.Study:
    """A study whose reward is the density under ondare."""
    study = optuna.create_study(directions=DIRECTIONS)
    for params in trials:
        density = params.get("method.ondare.density", 0.0)
        study.add_trial(
            optuna.trial.create_trial(
                state=state,
                values=[density, -density] if state == TrialState.COMPLETE else None,
                params=params,
                distributions=distributions(space, params),
            )
        )
    return study


SHARED = {"algorithm": "dpo", "learning_rate": 5e-4, "beta": 0.1}
KNOWN: list[dict[str, Any]] = [
    *({"method": "adamw", **SHARED, "learning_rate": rate} for rate in (3e-4, 5e-4, 9e-4)),
    *({"method": "mine", "algorithm": name, "beta": 0.1} for name in ("dpo", "kto")),
    *(
        {"method": "ondare", **SHARED, "method.ondare.tau_travel": 0.1, "method.ondare.density": density}
        for density in (0.4, 0.6, 0.8, 0.5, 0.7, 0.75)
    ),
]


@pytest.mark.parametrize("algorithm", ["tpe", "nsga2", "gp"])
def test_a_branch_that_is_better_is_proposed_with_its_own_knobs(search: dict[str, Any], algorithm: str) -> None:
    search["search"] = {"algorithm": algorithm, "trials": 30, "startup_trials": 8}
    space = build_space(search)
    study = study_of(space, KNOWN)
    before = [(one.params, one.system_attrs) for one in study.trials]
    drawn = [draw(space, study, seed, {}) for seed in range(1 if algorithm == "gp" else 6)]
    assert draw(space, study, 0, {}) == drawn[0]
    best = [one.params for one in drawn if one.params["method"] == "ondare"]
    assert len(best) > len(drawn) / 2
    for params in best:
        assert set(params) == set(KNOWN[-1])
    assert max(one["method.ondare.density"] for one in best) > 0.6
    assert [(one.params, one.system_attrs) for one in study.trials] == before
    assert [one.system for one in drawn] == [{GENERATION: 1} if algorithm == "nsga2" else {}] * len(drawn)


def test_what_is_given_stays(search: dict[str, Any]) -> None:
    search["search"] = {"algorithm": "nsga2", "trials": 30, "startup_trials": 8}
    space = build_space(search)
    assert draw(space, study_of(space, KNOWN), 0, {"method": "mine"}).params["method"] == "mine"


def test_a_gaussian_process_looks_elsewhere_than_where_trials_were_stopped(search: dict[str, Any]) -> None:
    """The stopped recipes are those it would propose else; they have no values."""
    search["search"] = {"algorithm": "gp", "trials": 30, "startup_trials": 8}
    search["space"]["method"] = {"adamw": {}}
    search["space"]["algorithm"], search["space"]["beta"] = "dpo", 0.1
    space = build_space(search)
    study = optuna.create_study(directions=DIRECTIONS)
    for unit, rate in enumerate((3e-4, 4e-4, 5e-4, 6e-4, 7e-4)):
        params = {"method": "adamw", "learning_rate": rate}
        study.add_trial(
            optuna.trial.create_trial(values=[unit, 1.0], params=params, distributions=distributions(space, params))
        )
    first = draw(space, study, 0, {}).params
    stopped = optuna.trial.create_trial(
        state=TrialState.PRUNED, params=first, distributions=distributions(space, first)
    )
    study.add_trials([stopped] * 3)
    assert first["learning_rate"] > 7e-4
    assert draw(space, study, 0, {}).params["learning_rate"] != pytest.approx(first["learning_rate"], rel=0.01)
