"""The searcher enqueues baselines, tells every outcome, proposes from its model and ends on time."""

import math
from typing import Any

import pytest
from optuna.trial import TrialState
from ray.tune.search import Searcher

from omsweep.plan.optuna import StudySearcher
from omsweep.plan.starting_points import plan, startup_trials, trial_count
from omsweep.space.knobs import SpaceError
from omsweep.space.search_space import build_space


def outcome(sample: dict[str, Any]) -> dict[str, Any]:
    """A made-up trade-off, keys flattened as Tune does it: reward and tax both grow with the learning rate."""
    rate = math.log(sample["learning_rate"])
    return {"outcome/state": "completed", "outcome/reward": rate + 9, "outcome/tax": math.exp(rate + 8)}


def run_to_the_end(searcher: StudySearcher) -> list[dict[str, Any]]:
    samples = []
    while (suggested := searcher.suggest(f"t{len(samples)}")) != Searcher.FINISHED:
        assert isinstance(suggested, dict)
        searcher.on_trial_complete(f"t{len(samples)}", outcome(suggested["sample"]))
        samples.append(suggested["sample"])
    return samples


def test_baselines_come_first_then_one_point_per_method_then_the_model(search: dict[str, Any]) -> None:
    space = build_space(search)
    samples = run_to_the_end(StudySearcher(space))
    assert len(samples) == 30
    assert [s["proposal"] for s in samples[:8]] == ["baseline"] * 6 + ["first"] * 2
    assert {(s["algorithm"], s["learning_rate"], s["beta"]) for s in samples[:6]} == {
        (a, lr, 0.1) for a in ("dpo", "ipo", "kto") for lr in (4e-4, 8e-4)
    }
    assert all(s["method"] == "adamw" and s["baseline"] for s in samples[:6])
    assert [s["label"] for s in samples[6:8]] == ["ondare", "mine"]
    assert {s["proposal"] for s in samples[8:]} == {"model"}
    assert startup_trials(space) == 8


def test_study_parameters_are_named_by_key_path(search: dict[str, Any]) -> None:
    searcher = StudySearcher(build_space(search))
    run_to_the_end(searcher)
    names = {name for trial in searcher.studies["tiny-llama"].trials for name in trial.params}
    assert {"method", "algorithm", "learning_rate", "method.ondare.tau_travel", "method.ondare.density"} <= names
    assert "method.mine.alpha" not in names  # fixed knobs are no parameters


def test_families_take_turns_each_with_a_study_of_its_own(search: dict[str, Any]) -> None:
    search["families"] = ["tiny-llama", "tiny-qwen2"]
    searcher = StudySearcher(build_space(search))
    samples = run_to_the_end(searcher)
    assert [s["family"] for s in samples] == ["tiny-llama", "tiny-qwen2"] * 15
    assert [len(study.trials) for study in searcher.studies.values()] == [15, 15]


@pytest.mark.parametrize(
    "result",
    [
        None,
        {},
        {"outcome/state": "failed", "outcome/error": "boom"},
        {"outcome/state": "diverged", "outcome/reward": None, "outcome/tax": None},
        {"outcome/state": "completed", "outcome/reward": float("nan"), "outcome/tax": 1.0},
    ],
)
def test_what_has_no_two_finite_objectives_is_told_as_failed(search: dict[str, Any], result: Any) -> None:
    searcher = StudySearcher(build_space(search))
    for i in range(3):
        searcher.suggest(f"t{i}")
    searcher.on_trial_complete("t0", result)
    searcher.on_trial_complete("t1", None, error=True)
    searcher.on_trial_complete("t2", {"outcome/state": "completed", "outcome/reward": 0.5, "outcome/tax": 1.0})
    states = [trial.state for trial in searcher.studies["tiny-llama"].get_trials(deepcopy=False)[:3]]
    assert states == [TrialState.FAIL, TrialState.FAIL, TrialState.COMPLETE]
    assert searcher.studies["tiny-llama"].trials[2].values == [0.5, 1.0]


def test_failures_do_not_count_towards_the_start_of_the_model(search: dict[str, Any]) -> None:
    searcher = StudySearcher(build_space(search))
    proposals = []
    for i in range(12):
        suggested = searcher.suggest(f"t{i}")
        assert isinstance(suggested, dict)
        proposals.append(suggested["sample"]["proposal"])
        searcher.on_trial_complete(f"t{i}", None, error=True)
    assert proposals[8:] == ["random"] * 4


def test_the_same_seed_proposes_the_same(search: dict[str, Any]) -> None:
    first, second = (run_to_the_end(StudySearcher(build_space(search))) for _ in range(2))
    assert first == second


def test_a_grid_visits_every_point_once(search: dict[str, Any]) -> None:
    search["search"] = {"algorithm": "grid"}
    search["baselines"] = {}
    search["space"]["learning_rate"] = {"choice": [1e-4, 2e-4]}
    search["space"]["method"]["ondare"] = {"semantics": "equations", "alpha": 1e-4, "density": {"choice": [0.5, 1.0]}}
    space = build_space(search)
    samples = run_to_the_end(StudySearcher(space))
    # adamw: 3 algorithms x 2 betas x 2 rates; ondare twice that; mine fixes its rate
    assert len(samples) == trial_count(space) == 12 + 24 + 6
    points = {tuple(sorted((k, v) for k, v in s.items() if k not in ("trial_id", "seed"))) for s in samples}
    assert len(points) == len(samples)


def test_random_search_never_says_its_proposals_come_from_a_model(search: dict[str, Any]) -> None:
    search["search"] = {"algorithm": "random", "trials": 12}
    samples = run_to_the_end(StudySearcher(build_space(search)))
    assert {s["proposal"] for s in samples[8:]} == {"random"}


@pytest.mark.parametrize(
    ("change", "path", "message"),
    [
        ({"search": {"trials": 5}}, "search.trials", "at least the 6 baselines, got 5"),
        ({"search": {}}, "search.trials", "is missing"),
        ({"search": {"algorithm": "grid"}}, "space.learning_rate", "a grid needs plain values"),
        ({"baselines": {"learning_rate": 1.0}}, "baselines.learning_rate", "must lie in what space.learning_rate"),
        ({"baselines": {"density": 1.0}}, "baselines.density", "unknown key"),
    ],
)
def test_a_search_that_cannot_be_run_is_refused(search: dict[str, Any], change: dict, path: str, message: str) -> None:
    with pytest.raises(SpaceError, match=message) as caught:
        trial_count(build_space(search | change))
    assert caught.value.path == path


def test_baselines_need_adamw(search: dict[str, Any]) -> None:
    del search["space"]["method"]["adamw"]
    with pytest.raises(SpaceError, match="need the method 'adamw'"):
        plan(build_space(search))
