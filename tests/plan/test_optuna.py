"""The searcher enqueues baselines, tells every outcome, proposes from its model and ends on time."""

import json
import math
from typing import Any

import pytest
from optuna.trial import TrialState

from omsweep.plan.optuna import StudyProposer
from omsweep.plan.starting_points import plan, startup_trials, trial_count
from omsweep.space.build import build_space
from omsweep.space.knobs import SpaceError
from omsweep.space.search_space import SearchSpace
from omsweep.store.events import Event
from omsweep.store.state import SweepState, apply
from omsweep.strict_json import plain
from tests.space_files import flat


def outcome(sample: dict[str, Any]) -> dict[str, Any]:
    """A made-up trade-off: reward and tax both grow with the learning rate."""
    rate = math.log(sample["learning_rate"])
    return {"state": "completed", "reward": rate + 9, "tax": math.exp(rate + 8)}


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
    assert proposals[8:] == ["random"] * 4


def test_the_same_seed_proposes_the_same(search: dict[str, Any]) -> None:
    first, second = (run_to_the_end(StudyProposer(build_space(search))) for _ in range(2))
    assert first == second


@pytest.mark.parametrize("at_once", [1, 3])
@pytest.mark.parametrize("algorithm", ["tpe", "random"])
def test_a_search_that_goes_on_proposes_what_it_would_have(
    search: dict[str, Any], algorithm: str, at_once: int
) -> None:
    """Whenever it is stopped, and however many trials run then; no study has another trial, or two."""
    search["families"], search["search"] = ["tiny-llama", "tiny-qwen2"], {"algorithm": algorithm, "trials": 24}
    space = build_space(search)
    whole, states = searched(space, StudyProposer(space), SweepState(), at_once)
    for stopped in range(0, len(states), 5):
        proposer = StudyProposer(space, states[stopped])
        samples, _ = searched(space, proposer, states[stopped], at_once)
        known = len(states[stopped].trials)
        assert samples == whole[known:]
        assert [len(study.trials) for study in proposer.studies.values()] == [12, 12]
        assert {trial.state for study in proposer.studies.values() for trial in study.trials} == {TrialState.COMPLETE}


def searched(
    space: SearchSpace, proposer: StudyProposer, state: SweepState, at_once: int
) -> tuple[list[dict[str, Any]], list[SweepState]]:
    """Samples in their order, and the states of the sweep after each event; the oldest of `at_once` trials ends."""
    samples: list[dict[str, Any]] = []
    states, running = [state], [one.trial_id for one in state.proposed() if one.outcome is None]

    def happened(kind: str, trial_id: str, **data: Any) -> None:
        states.append(apply(states[-1], Event(states[-1].seq + 1, 1, 0.0, kind, trial_id, None, data)))

    while True:
        made = proposer.next() if len(running) < at_once else None
        if made is not None:
            samples.append(flat(made.spec))
            running.append(made.spec.trial_id)
            fields = json.loads(json.dumps(plain(made.spec.model_dump(exclude={"trial_id"}))))
            happened("proposed", made.spec.trial_id, trial=fields, drawn=json.loads(json.dumps(made.drawn)))
        elif running:
            trial_id = running.pop(0)
            ended = outcome(flat(states[-1].trials[trial_id].spec))
            happened("ended", trial_id, outcome=ended)
            proposer.tell(trial_id, ended)
        else:
            return samples, states


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
