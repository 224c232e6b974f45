"""What earlier sweeps teach a search: only results that are its own, noted in its log, and said where it is not all."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from omsweep.plan.earlier import check_earlier, read_earlier
from omsweep.plan.optuna import StudyProposer
from omsweep.plan.starting_points import check_trials
from omsweep.space.build import build_space
from omsweep.space.knobs import SpaceError
from omsweep.space.search_space import SearchSpace
from omsweep.store.folder import SweepFolder
from omsweep.store.log import SweepLog
from omsweep.store.state import SweepState
from tests.driven_search import searched


def written(space: SearchSpace, folder: Path, trials: int) -> str:
    """A finished sweep of so many trials."""
    _, states = searched(space, StudyProposer(space), SweepState(), 1)
    log = SweepLog.open(SweepFolder(folder.parent, folder.name).files, say=print)
    log.append("created", name=folder.name, resolved=space.resolved())
    for trial in states[-1].proposed()[:trials]:
        fields = {name: value for name, value in trial.fields.items() if name != "trial_id"}
        log.append("proposed", trial_id=trial.trial_id, trial=fields, drawn=trial.drawn)
        log.append("ended", trial_id=trial.trial_id, outcome=trial.outcome)
    log.close()
    return str(folder)


def test_results_are_known_and_counted_nowhere(search: dict[str, Any], tmp_path: Path) -> None:
    search["search"] = {"algorithm": "tpe", "trials": 12, "startup_trials": 8}
    old = written(build_space(search), tmp_path / "old", 12)
    space = build_space(search | {"search": search["search"] | {"warm_start": [old], "startup_trials": 10}})
    check_earlier(space)
    proposer = StudyProposer(space)
    samples, states = searched(space, proposer, SweepState(), 1)
    assert len(samples) == len(states[-1].trials) == 12
    assert [one["proposal"] for one in samples[-4:]] == ["model"] * 4
    assert len(proposer.studies["tiny-llama"].trials) == 24
    assert samples[8]["proposal"] == "model"  # 8 own trials are less than 10, together with those known they are more

    shutil.rmtree(old)  # what was known is in the log
    for state in states[3::7]:
        again, _ = searched(space, StudyProposer(space, state), state, 1)
        assert again == samples[len(state.trials) :]


def test_what_is_no_result_of_this_search_is_left_out_and_said(search: dict[str, Any], tmp_path: Path) -> None:
    search["search"] = {"algorithm": "tpe", "trials": 12}
    old = written(build_space(search), tmp_path / "old", 12)
    new = json.loads(json.dumps(search)) | {"search": {"algorithm": "tpe", "trials": 8, "warm_start": [old]}}
    cases = {
        "train.steps is 100 there and 50 here": {"train": {"steps": 50}},
        "evaluate.samples is 4 there and 2 here": {"evaluate": {"samples": 2}},
        "it is of family 'tiny-llama'": {"families": ["tiny-qwen2"]},
    }
    for reason, change in cases.items():
        found = read_earlier(build_space(new | change))
        assert found.said == found.left_out
        assert f"0 of 12 finished trials of {old} are known; left out are 12, the first" in found.said[0]
        assert reason in found.said[0]
    narrow = json.loads(json.dumps(new))
    narrow["space"]["algorithm"] = {"choice": ["dpo", "ipo"]}
    found = read_earlier(build_space(narrow))
    assert 0 < len(found.known["tiny-llama"]) < 12
    assert "outside of the search space" in found.said[0]
    said: list[str] = []
    StudyProposer(build_space(narrow), say=said.append)
    assert said == found.left_out


def test_another_family_of_an_earlier_sweep_gives_starting_points_and_a_prior(
    search: dict[str, Any], tmp_path: Path
) -> None:
    search["search"] = {"algorithm": "nsga2", "trials": 12, "startup_trials": 6}
    old = written(build_space(search), tmp_path / "old", 12)
    transfer = {"warm_start": [old], "transfer_from": "tiny-llama", "trials": 16, "startup_trials": 10}
    space = build_space(search | {"families": ["tiny-qwen2"], "search": search["search"] | transfer})
    check_trials(space)
    check_earlier(space)
    proposer = StudyProposer(space)
    samples, states = searched(space, proposer, SweepState(), 1)
    assert len(proposer.studies["tiny-qwen2"].trials) == 16  # results of another model are in no study of this one
    assert [one["proposal"] for one in samples].count("transfer") >= 2
    shutil.rmtree(old)
    again, _ = searched(space, StudyProposer(space, states[9]), states[9], 1)
    assert again == samples[len(states[9].trials) :]


@pytest.mark.parametrize(
    ("change", "path", "message"),
    [
        (
            {"transfer_from": "tiny-qwen2"},
            "search.transfer_from",
            "must be one of the families .tiny-llama., or one of",
        ),
        ({"transfer_from": "tiny-llama"}, "search.transfer_from", "is the only family"),
        ({"transfer_from": "x", "algorithm": "grid", "trials": None}, "search.transfer_from", "'grid' learns nothing"),
        ({"warm_start": ["/nowhere/old"], "algorithm": "random"}, "search.warm_start", "'random' learns nothing"),
        ({"warm_start": ["/nowhere/old"]}, "search.warm_start.0", "must be the folder of a sweep: no sweep in"),
    ],
)
def test_a_search_that_cannot_learn_so_is_refused(
    search: dict[str, Any], change: dict[str, Any], path: str, message: str
) -> None:
    if change.get("algorithm") == "grid":
        search["space"] = {"algorithm": "dpo", "learning_rate": 1e-4, "beta": 0.1, "method": "adamw"}
        search["baselines"] = {}
    space = build_space(search | {"search": search["search"] | change})

    def check() -> None:
        check_trials(space)
        check_earlier(space)

    with pytest.raises(SpaceError, match=message) as caught:
        check()
    assert caught.value.path == path


def test_a_transfer_that_no_earlier_sweep_has_is_refused(search: dict[str, Any], tmp_path: Path) -> None:
    old = written(build_space(search), tmp_path / "old", 6)
    given = {"warm_start": [old], "transfer_from": "small"}
    with pytest.raises(SpaceError, match="no usable trial of 'small' in warm_start"):
        check_earlier(build_space(search | {"search": search["search"] | given}))
