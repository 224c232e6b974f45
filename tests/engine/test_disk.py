"""What a sweep takes of its storage: a disk that is too small is refused, and what is removed is in the log."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from omsweep.engine import disk
from omsweep.engine.disk import SMALL_FILES, Retention, check_room, needed, to_write
from omsweep.families.table import FAMILIES
from omsweep.plan.design import draw
from omsweep.space.build import build_space
from omsweep.space.schema import Keep
from omsweep.store.folder import SweepFolder
from omsweep.store.log import SweepLog
from omsweep.store.records import Outcome
from omsweep.trial.session import policy_folder

MADE: dict[str, Any] = {
    "name": "small",
    "mode": "compare",
    "families": ["tiny-llama"],
    "space": {"algorithm": "dpo", "learning_rate": 4e-4, "beta": 0.1, "method": {"adamw": {}}},
    "design": {"blocks": 4},
    "train": {"steps": 100, "batch_size": 8, "backend": "inprocess"},
}
POLICY = 4 * (FAMILIES["tiny-llama"].size or 0)
TRIALS: dict[str, dict[str, Any]] = {
    "best": {"reward": 0.5, "tax": 1.0},
    "beaten": {"reward": 0.4, "tax": 2.0},
    "parent": {"reward": 0.3, "tax": 3.0},
    "failed": {"state": "failed"},
}


def written(**changes: Any) -> Any:
    space = build_space(MADE | changes)
    return to_write(space, draw(space))


def test_every_policy_counts_in_the_bytes_of_its_dtype() -> None:
    assert written() == {"4 policies": 4 * POLICY, "log and tables": SMALL_FILES}
    assert written(train=MADE["train"] | {"dtype": "bfloat16"})["4 policies"] == 2 * POLICY


def test_checkpoints_of_the_trials_at_work_count() -> None:
    train = MADE["train"] | {"checkpoint_every": 30, "concurrent_trials": 2}
    assert written(train=train)["checkpoints of 2 at work"] == 2 * 2 * 3 * POLICY
    kept = written(train=train, keep={"checkpoints": "all"})
    assert kept["checkpoints of 4 at work"] == 4 * 2 * 3 * POLICY


def test_merged_policies_count_that_are_kept() -> None:
    grid = {"method": "linear", "weights": [0.3, 0.6]}
    terms = written(posthoc={"line": grid, "kept": grid | {"keep": True}})
    assert (terms["merged policies that are kept"], terms["one that is merged and scored"]) == (8 * POLICY, POLICY)


def test_a_search_counts_its_smallest_family_and_nothing_that_is_done() -> None:
    search = {**MADE, "mode": "search", "families": ["tiny-llama", "tiny-qwen2"], "search": {"trials": 9}}
    space = build_space({name: value for name, value in search.items() if name != "design"})
    assert to_write(space, 3)["3 policies"] == 3 * 4 * (FAMILIES["tiny-qwen2"].size or 0)
    assert to_write(space, 0) == {}


def test_a_disk_that_is_too_small_is_refused_with_what_is_needed_and_what_there_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    space = build_space(MADE)
    check_room(space, draw(space), tmp_path)
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda _: SimpleNamespace(total=7_000_000, free=6_000_000))
    said = r"has room for 6.0 MB, and the sweep writes at least 11.\d MB = 4 policies 7.\d MB \+ log and tables 4.0 MB;"
    with pytest.raises(ValueError, match=said):
        check_room(space, draw(space), tmp_path)
    check_room(space, [], tmp_path)


@pytest.fixture
def folder(tmp_path: Path) -> SweepFolder:
    return SweepFolder(tmp_path, "s")


@pytest.fixture
def log(folder: SweepFolder) -> Iterator[SweepLog]:
    """Four trained trials with checkpoints and policies, and one on the front that was merged from `parent`."""
    made = SweepLog.open(folder.files)
    made.append("created", name="s", resolved={})
    for name, known in TRIALS.items():
        made.append("proposed", trial_id=name, trial={"family": "f"})
        for place in ("work", "policies"):
            (folder.path / place / name).mkdir(parents=True)
            (folder.path / place / name / "weights").write_bytes(b"12345")
        outcome = {"state": "completed", "policy_path": str(policy_folder(folder.path, name)), **known}
        made.append("ended", trial_id=name, outcome=outcome)
    made.append("proposed", trial_id="parent+m", trial={"family": "f", "kind": "posthoc", "parent": "parent"})
    made.append("ended", trial_id="parent+m", outcome={"state": "completed", "reward": 0.6, "tax": 1.5})
    yield made
    made.close()


def left(folder: SweepFolder, place: str) -> list[str]:
    return sorted(one.name for one in (folder.path / place).iterdir())


def test_training_state_goes_when_a_trial_has_ended_well(log: SweepLog, folder: SweepFolder) -> None:
    retention = Retention(Keep(), log, folder)
    for record in log.state.records():
        retention.ended(record, Outcome(state=record.state))
    retention.closed()
    assert left(folder, "work") == ["failed"]
    assert left(folder, "policies") == sorted(TRIALS)
    assert log.state.reclaimed == 3 * 5


def test_checkpoints_stay_where_that_is_asked(log: SweepLog, folder: SweepFolder) -> None:
    retention = Retention(Keep(checkpoints="all"), log, folder)
    for record in log.state.records():
        retention.ended(record, Outcome(state=record.state))
    assert left(folder, "work") == sorted(TRIALS)


@pytest.mark.parametrize(("policies", "stays"), [("front", ["best", "parent"]), ("none", [])])
def test_policies_that_are_not_kept_go_at_the_end(
    log: SweepLog, folder: SweepFolder, policies: Any, stays: list[str]
) -> None:
    assert needed(log.state) >= {"best", "parent", "parent+m"}
    Retention(Keep(policies=policies), log, folder).closed()
    assert left(folder, "policies") == stays
    named = [record.trial_id for record in log.state.records() if record.policy_path]
    assert named == stays
    assert folder.state().records() == log.state.records()
