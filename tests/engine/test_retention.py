"""What is removed, when, and that the log says so."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from omsweep.engine.retention import Retention, needed
from omsweep.space.schema import Keep
from omsweep.store.folder import SweepFolder
from omsweep.store.log import SweepLog
from omsweep.store.records import Outcome
from omsweep.trial.session import policy_folder

TRIALS: dict[str, dict[str, Any]] = {
    "best": {"reward": 0.5, "tax": 1.0},
    "beaten": {"reward": 0.4, "tax": 2.0},
    "parent": {"reward": 0.3, "tax": 3.0},
    "failed": {"state": "failed"},
}


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
        for place in ("work", "checkpoints", "policies"):
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
    assert left(folder, "work") == left(folder, "checkpoints") == ["failed"]
    assert left(folder, "policies") == sorted(TRIALS)
    assert log.state.reclaimed == 3 * 2 * 5


def test_checkpoints_stay_where_that_is_asked(log: SweepLog, folder: SweepFolder) -> None:
    retention = Retention(Keep(checkpoints="all"), log, folder)
    for record in log.state.records():
        retention.ended(record, Outcome(state=record.state))
    assert left(folder, "checkpoints") == sorted(TRIALS)


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
