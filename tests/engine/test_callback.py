"""What the driver keeps of a trial when something about it fails after it completed."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console
from rich.progress import Progress

from omsweep.engine.callback import SweepEvents
from omsweep.plan.design import draw
from omsweep.sinks.guard import GuardedTracker
from omsweep.space.build import build_space
from omsweep.store.folder import SweepFolder
from omsweep.store.records import Outcome, Prepared, TrialSpec

PREPARED = Prepared(base="b", sft="s", weights_hash="ab", dtype="float32")
OUTCOME = {"state": "completed", "reward": 0.5, "tax": 1.0, "kl": 0.1, "steps": 3, "losses": [0.7]}


class AwayTracker:
    """A tracker whose store cannot be reached."""

    place = "http://mlflow:5000"

    def open_run(self, _: str) -> None:
        return None

    def __getattr__(self, _: str) -> Any:
        def raises(*_: Any, **__: Any) -> None:
            raise ConnectionError("refused")

        return raises


@pytest.fixture
def folder(tmp_path: Path) -> SweepFolder:
    made = SweepFolder(tmp_path, "s")
    made.create({})
    return made


@pytest.fixture
def events(compare: dict[str, Any], folder: SweepFolder) -> SweepEvents:
    tracker: Any = AwayTracker()
    progress = Progress()
    return SweepEvents(
        {},
        folder,
        GuardedTracker(tracker, folder.path, lambda _: None),
        {(family, 0): PREPARED for family in compare["families"]},
        Console(quiet=True),
        (progress, progress.add_task("trials")),
    )


@pytest.fixture
def tune_trial(compare: dict[str, Any]) -> Any:
    spec = draw(build_space(compare))[0].model_dump()
    return SimpleNamespace(config={"spec": spec}, last_result={"outcome": OUTCOME}, error_file=None)


def test_a_completed_trial_stays_completed_without_its_store(
    events: SweepEvents, folder: SweepFolder, tune_trial: Any
) -> None:
    events.on_trial_start(0, [], tune_trial)
    events.on_trial_complete(1, [], tune_trial)
    (record,) = folder.trials()
    assert (record.state, record.reward, record.mlflow_run_id) == ("completed", 0.5, None)


def test_an_error_is_kept_without_the_secrets_in_it(events: SweepEvents, folder: SweepFolder, tune_trial: Any) -> None:
    outcome = Outcome(state="failed", error="OSError: https://me:hunter2@hub/model?token=hunter2 not found")
    events.end(TrialSpec(**tune_trial.config["spec"]), outcome)
    assert "hunter2" not in folder.trials_jsonl.read_text()
    assert folder.trials()[0].error == "OSError: https://hub/model?token=*** not found"


def test_a_trial_ends_once(events: SweepEvents, folder: SweepFolder, tune_trial: Any) -> None:
    events.on_trial_complete(1, [], tune_trial)
    events.on_trial_error(1, [], tune_trial)
    assert len(folder.trials_jsonl.read_text().splitlines()) == 1
    assert [record.state for record in events.finished] == ["completed"]
