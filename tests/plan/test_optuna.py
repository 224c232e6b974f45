"""The searcher enqueues baselines, tells every outcome, proposes from its model and ends on time."""

from typing import Any

import pytest
from optuna.trial import TrialState

from omsweep.plan.optuna import StudyProposer
from omsweep.plan.starting_points import plan, startup_trials, trial_count
from omsweep.space.build import build_space
from omsweep.space.knobs import SpaceError
from omsweep.space.reads import possible_reads
from omsweep.store.state import SweepState
from tests.driven_search import outcome, searched, some_stopped
from tests.space_files import flat


def run_to_the_end(proposer: StudyProposer) -> list[dict[str, Any]]:
    samples = []
    while (made := proposer.next()) is not None:
        samples.append(flat(made.spec))
        proposer.tell(made.spec.trial_id, outcome(samples[-1]))
    return samples


def test_baselines_come_first_then_one_point_per_method_then_the_model(search: dict[str, Any]) -> None:
    space = build_space(search)
    samples = run_to_the_end(StudyProposer(space))
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
    proposer = StudyProposer(build_space(search))
    run_to_the_end(proposer)
    names = {name for trial in proposer.studies["tiny-llama"].trials for name in trial.params}
    assert {"method", "algorithm", "learning_rate", "method.ondare.tau_travel", "method.ondare.density"} <= names
    assert "method.mine.alpha" not in names  # fixed knobs are no parameters


def test_families_take_turns_each_with_a_study_of_its_own(search: dict[str, Any]) -> None:
    search["families"] = ["tiny-llama", "tiny-qwen2"]
    proposer = StudyProposer(build_space(search))
    samples = run_to_the_end(proposer)
    assert [s["family"] for s in samples] == ["tiny-llama", "tiny-qwen2"] * 15
    assert [len(study.trials) for study in proposer.studies.values()] == [15, 15]


@pytest.mark.parametrize(
    "result",
    [
        None,
        {},
        {"state": "failed", "error": "boom"},
        {"state": "diverged", "reward": None, "tax": None},
        {"state": "completed", "reward": float("nan"), "tax": 1.0},
    ],
)
def test_what_has_no_two_finite_objectives_is_told_as_failed(search: dict[str, Any], result: Any) -> None:
    proposer = StudyProposer(build_space(search))
    first, second = (proposer.next() for _ in range(2))
    assert first is not None
    assert second is not None
    proposer.tell(first.spec.trial_id, result)
    proposer.tell(second.spec.trial_id, {"state": "completed", "reward": 0.5, "tax": 1.0})
    states = [trial.state for trial in proposer.studies["tiny-llama"].get_trials(deepcopy=False)[:2]]
    assert states == [TrialState.FAIL, TrialState.COMPLETE]
    assert proposer.studies["tiny-llama"].trials[1].values == [0.5, 1.0]


def test_failures_do_not_count_towards_the_start_of_the_model(search: dict[str, Any]) -> None:
    proposer = StudyProposer(build_space(search))
    proposals = []
    for _ in range(12):
        made = proposer.next()
        assert made is not None
        proposals.append(made.spec.params["proposal"])
        proposer.tell(made.spec.trial_id, None)
    assert set(proposals[8:]) <= {"random", "replicate"}


def test_the_same_seed_proposes_the_same(search: dict[str, Any]) -> None:
    first, second = (run_to_the_end(StudyProposer(build_space(search))) for _ in range(2))
    assert first == second


ALGORITHMS = {
    "tpe": {},
    "random": {},
    "nsga2": {"startup_trials": 5},
    "replicates": {"algorithm": "random", "replicates": 10},
    "constraints": {"algorithm": "tpe", "constraints": {"kl": {"at_most": 2.0}}},
    "transfer": {"algorithm": "tpe", "transfer_from": "tiny-qwen2", "startup_trials": 5},
}


@pytest.mark.parametrize("at_once", [1, 3])
@pytest.mark.parametrize("given", ALGORITHMS)
def test_a_search_that_goes_on_proposes_what_it_would_have(search: dict[str, Any], given: str, at_once: int) -> None:
    """Whenever it is stopped, and however many trials run then; no study has another trial, or two."""
    search["families"] = ["tiny-llama", "tiny-qwen2"]
    search["search"] = {"algorithm": given, "trials": 24} | ALGORITHMS[given]
    space = build_space(search)
    whole, states = searched(space, StudyProposer(space), SweepState(), at_once, some_stopped)
    for stopped in range(0, len(states), 9):
        proposer = StudyProposer(space, states[stopped])
        samples, _ = searched(space, proposer, states[stopped], at_once, some_stopped)
        known = len(states[stopped].trials)
        assert samples == whole[known:]
        assert [len(study.trials) for study in proposer.studies.values()] == [12, 12]
        ends = {TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL}
        assert {trial.state for study in proposer.studies.values() for trial in study.trials} == ends


def test_a_gaussian_process_goes_on_too(search: dict[str, Any]) -> None:
    """With a constraint, branches, trials that run, one that was stopped and one that failed."""
    given = {"algorithm": "gp", "trials": 8, "startup_trials": 3, "constraints": {"kl": {"at_most": 2.0}}}
    space = build_space(search | {"search": given, "baselines": {}})
    whole, states = searched(space, StudyProposer(space), SweepState(), 2, some_stopped)
    assert [one["proposal"] for one in whole[-2:]] == ["model"] * 2
    state = states[-5]
    samples, _ = searched(space, StudyProposer(space, state), state, 2, some_stopped)
    assert samples == whole[len(state.trials) :]
    assert 0 < len(samples) < 4


def test_grids_go_on_too(search: dict[str, Any]) -> None:
    space = build_space(all_choice(search) | {"search": {"algorithm": "grid", "replicates": 4}})
    whole, states = searched(space, StudyProposer(space), SweepState(), 2)
    assert [one["proposal"] for one in whole] == ["grid"] * 6 + ["replicate"] * 4
    for state in states[::3]:
        samples, _ = searched(space, StudyProposer(space, state), state, 2)
        assert samples == whole[len(state.trials) :]


def all_choice(search: dict[str, Any]) -> dict[str, Any]:
    """Six recipes."""
    space = {"algorithm": {"choice": ["dpo", "ipo", "kto"]}, "learning_rate": {"choice": [4e-4, 8e-4]}, "beta": 0.1}
    return search | {"space": space | {"method": {"adamw": {}}}, "baselines": {}}


@pytest.mark.parametrize("algorithm", ["tpe", "random", "nsga2"])
def test_a_recipe_that_comes_again_gets_another_seed_and_is_called_a_replicate(
    search: dict[str, Any], algorithm: str
) -> None:
    """No two trials are the same, where a family starts more of them than there are recipes."""
    space = build_space(all_choice(search) | {"search": {"algorithm": algorithm, "trials": 30, "startup_trials": 12}})
    samples = run_to_the_end(StudyProposer(space))
    recipes = [(one["algorithm"], one["learning_rate"]) for one in samples]
    assert len({(*recipe, one["seed"]) for recipe, one in zip(recipes, samples, strict=True)}) == len(samples) == 30
    for number, (recipe, sample) in enumerate(zip(recipes, samples, strict=True)):
        assert (sample["proposal"] == "replicate") == (recipe in recipes[:number])
        assert sample["seed"] == space.search.training_seed(recipes[:number].count(recipe))
    assert {one["seed"] for one in samples} <= {
        reading.seed for reading in possible_reads(space).pairs[space.preferences.key, "dpo"]
    }


def test_the_last_trials_repeat_what_may_change_the_front(search: dict[str, Any]) -> None:
    del search["space"]["method"]["mine"]  # which draws no real number, and may come again by chance
    search["search"] = {"algorithm": "random", "trials": 20, "replicates": 6}
    samples = run_to_the_end(StudyProposer(build_space(search)))
    assert [one["proposal"] for one in samples].index("replicate") == 14
    assert {one["proposal"] for one in samples[14:]} == {"replicate"}
    recipes = [(one["label"], one["algorithm"], one["learning_rate"]) for one in samples]
    assert set(recipes[14:]) <= set(recipes[:14])
    assert len({(recipe, one["seed"]) for recipe, one in zip(recipes, samples, strict=True)}) == 20


@pytest.mark.parametrize("algorithm", ["tpe", "nsga2"])
def test_conditional_knobs_are_learnt_and_belong_to_their_branch(search: dict[str, Any], algorithm: str) -> None:
    """The reward wants a high density under ondare: the model's proposals are nearer to it than chance's."""

    def rewarded(sample: dict[str, Any]) -> dict[str, Any]:
        density = sample.get("density", 0.0) if sample["label"] == "ondare" else 0.0
        return {"state": "completed", "reward": density, "tax": -density}

    search["search"] = {"algorithm": algorithm, "trials": 40, "startup_trials": 12}
    proposer, samples = StudyProposer(build_space(search)), []
    while (made := proposer.next()) is not None:
        samples.append(flat(made.spec))
        proposer.tell(made.spec.trial_id, rewarded(samples[-1]))
    for sample in samples:
        assert ("density" in sample) == (sample["label"] == "ondare")
    model = [rewarded(one)["reward"] for one in samples[26:]]
    chance = [rewarded(one)["reward"] for one in samples[8:12]]
    assert {one["proposal"] for one in samples[12:]} <= {"model", "random", "replicate"}
    assert sum(model) / len(model) > max(0.6, sum(chance) / len(chance))


def test_generations_of_nsga2_are_in_the_log(search: dict[str, Any]) -> None:
    search["search"] = {"algorithm": "nsga2", "trials": 30, "startup_trials": 8}
    space = build_space(search)
    _, states = searched(space, StudyProposer(space), SweepState(), 1)
    drawn = [one.drawn["system"] for one in states[-1].proposed() if one.drawn]
    assert [one.get("NSGAIISampler:generation", 0) for one in drawn] == [0] * 8 + [1] * 8 + [2] * 8 + [3] * 6


def test_stopped_trials_inform_and_do_not_count(search: dict[str, Any]) -> None:
    """Twenty stopped trials do not end the start; as bad trials they keep TPE away from where they were."""
    search["search"] = {"algorithm": "tpe", "trials": 60, "startup_trials": 8}
    proposer, kinds, labels = StudyProposer(build_space(search)), [], []
    while (made := proposer.next()) is not None:
        sample = flat(made.spec)
        kinds.append(sample["proposal"])
        labels.append(sample["label"])
        finished = outcome(sample) if len(kinds) > 20 and sample["label"] == "ondare" else {"state": "stopped"}
        proposer.tell(made.spec.trial_id, finished)
    first = kinds.index("model")
    assert first > 20
    assert labels[first:].count("ondare") > 0.8 * len(labels[first:])
    states = [trial.state for trial in proposer.studies["tiny-llama"].trials]
    assert states.count(TrialState.PRUNED) == len(states) - states.count(TrialState.COMPLETE) > 20
    assert all(trial.values is None for trial in proposer.studies["tiny-llama"].trials if trial.state.name == "PRUNED")


@pytest.mark.parametrize("algorithm", ["tpe", "nsga2"])
def test_constraints_keep_proposals_inside(search: dict[str, Any], algorithm: str) -> None:
    """Without them a third or more of the model's proposals have a larger learning rate than the bound allows."""
    search["search"] = {"algorithm": algorithm, "trials": 40, "startup_trials": 10}
    bounded = search | {"search": search["search"] | {"constraints": {"kl": {"at_most": 1.5}}}}
    free, inside = (run_to_the_end(StudyProposer(build_space(one))) for one in (search, bounded))
    outside = [sum(outcome(one)["kl"] > 1.5 for one in samples[20:]) for samples in (free, inside)]
    assert outside[1] < outside[0] / 2


def test_another_family_s_front_and_model_begin(search: dict[str, Any]) -> None:
    """It has all its trials first; the other starts from its front and, until it has results, its model."""
    search["families"] = ["tiny-qwen2", "tiny-llama"]
    search["search"] = {"algorithm": "tpe", "trials": 40, "startup_trials": 10, "transfer_from": "tiny-llama"}
    samples = run_to_the_end(StudyProposer(build_space(search)))
    assert [one["family"] for one in samples] == ["tiny-llama"] * 20 + ["tiny-qwen2"] * 20
    kinds = [one["proposal"] for one in samples[20:]]
    assert kinds[:6] == ["baseline"] * 6
    assert kinds[6:].count("transfer") >= 4
    assert "random" not in kinds
    assert kinds[-4:] == ["model"] * 4
    small = {(one["label"], one["learning_rate"]) for one in samples[:20]}
    assert sum((one["label"], one["learning_rate"]) in small for one in samples[26:]) >= 4


def test_a_grid_visits_every_point_once(search: dict[str, Any]) -> None:
    search["search"] = {"algorithm": "grid"}
    search["baselines"] = {}
    search["space"]["learning_rate"] = {"choice": [1e-4, 2e-4]}
    search["space"]["method"]["ondare"] = {"semantics": "equations", "alpha": 1e-4, "density": {"choice": [0.5, 1.0]}}
    space = build_space(search)
    samples = run_to_the_end(StudyProposer(space))
    # adamw: 3 algorithms x 2 betas x 2 rates; ondare twice that; mine fixes its rate
    assert len(samples) == trial_count(space) == 12 + 24 + 6
    points = {tuple(sorted((k, v) for k, v in s.items() if k not in ("trial_id", "seed"))) for s in samples}
    assert len(points) == len(samples)


def test_random_search_never_says_its_proposals_come_from_a_model(search: dict[str, Any]) -> None:
    search["search"] = {"algorithm": "random", "trials": 12}
    samples = run_to_the_end(StudyProposer(build_space(search)))
    assert {s["proposal"] for s in samples[8:]} <= {"random", "replicate"}


@pytest.mark.parametrize(
    ("change", "path", "message"),
    [
        ({"search": {"trials": 5}}, "search.trials", "at least the 6 baselines, got 5"),
        ({"search": {}}, "search.trials", "is missing"),
        ({"search": {"algorithm": "grid"}}, "space.learning_rate", "a grid needs plain values"),
        ({"baselines": {"learning_rate": 1.0}}, "baselines.learning_rate", "must lie in what space.learning_rate"),
        (
            {"search": {"trials": 8, "replicates": 3}},
            "search.trials",
            "at least the 6 baselines and 3 replicates, got 8",
        ),
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
