"""A store that goes away, comes back or refuses: what is written, when, and what the user is told."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("mlflow")

from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE
from omsweep.sinks.guard import FIRST_PAUSE_SECONDS, LONGEST_REASON, PAUSE_PER_ATTEMPT, GuardedTracker

from omsweep.sinks.mlflow import Tracker
from omsweep.store.records import TrialRecord, TrialSpec

SECRET_ERROR = MlflowException(f"{'x' * (LONGEST_REASON - 18)} http://me:hunter2@mlflow:5000/api failed")  # cut in it


class Store:
    """A tracker that notes what it is asked to write, and raises while it is `down`."""

    place = "http://mlflow:5000"

    def __init__(self) -> None:
        self.down: Exception | None = None
        self.seconds = 0.0
        self.tried: list[str] = []
        self.written: list[str] = []
        self.now = 0.0

    def open_run(self, trial_id: str) -> str | None:
        return "run" if f"start {trial_id}" in self.written else None

    def start_sweep(self, *_: Any) -> None:
        self._write("sweep")

    def start_trial(self, spec: TrialSpec) -> None:
        self._write(f"start {spec.trial_id}")

    def end_trial(self, record: Any, *_: Any) -> None:
        self._write(f"end {record.trial_id}")

    def log_hypervolume(self, _: Any, step: int) -> None:
        self._write(f"volume {step}")

    def log_artifacts(self, _: Path) -> None:
        self._write("files")

    def finish(self, state: str) -> None:
        self._write(state)

    def _write(self, what: str) -> None:
        self.tried.append(what)
        if self.down is not None:
            self.now += self.seconds
            raise self.down
        self.written.append(what)


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def guarded(store: Store, said: list[str]) -> GuardedTracker:
    made: Any = store
    return GuardedTracker(made, Path("/results/s"), said.append, lambda: store.now)


def spec(trial_id: str, **params: Any) -> TrialSpec:
    return TrialSpec(trial_id=trial_id, family="f", params=params)


def record(trial_id: str) -> TrialRecord:
    return TrialRecord(trial_id=trial_id, state="completed", family="f", reward=0.5)


def trial(guarded: GuardedTracker, trial_id: str, step: int) -> None:
    guarded.start_trial(spec(trial_id))
    guarded.end_trial(record(trial_id), {}, [])
    guarded.log_hypervolume({}, step)


def test_a_store_that_comes_back_has_everything_in_order(
    guarded: GuardedTracker, store: Store, said: list[str]
) -> None:
    guarded.start_sweep({}, {})
    store.down = SECRET_ERROR
    trial(guarded, "a", 1)
    assert guarded.open_run("a") is None
    assert store.tried == ["sweep", "start a"]  # nothing more within the pause
    store.now += FIRST_PAUSE_SECONDS
    guarded.start_trial(spec("b"))
    assert store.tried == ["sweep", "start a", "start a"]
    store.down = None
    store.now += FIRST_PAUSE_SECONDS
    guarded.end_trial(record("b"), {}, [])
    assert store.written == ["sweep"]  # the pause grows
    store.now += FIRST_PAUSE_SECONDS
    guarded.log_hypervolume({}, 2)
    in_order = ["sweep", "start a", "end a", "volume 1", "start b", "end b", "volume 2"]
    assert store.written == in_order
    guarded.finish("completed")
    assert store.written == [*in_order, "files", "completed"]
    away, back = said
    assert "MLflow at http://mlflow:5000 cannot be written (starts of trials)" in away
    assert "the sweep goes on, its results are safe in /results/s" in away
    assert "hunter2" not in away
    assert "again" in back


def test_what_a_store_that_stays_away_lacks_is_counted_at_the_end(
    guarded: GuardedTracker, store: Store, said: list[str]
) -> None:
    store.down = ConnectionError("refused")
    guarded.start_sweep({}, {})
    for step, trial_id in enumerate("abc", start=1):
        trial(guarded, trial_id, step)
    guarded.finish("completed")
    assert store.tried == ["sweep", "sweep"]
    assert len(said) == 2
    assert "3 x results of trials" in said[1]
    assert "1 x the sweep's files" in said[1]
    assert "/results/s" in said[1]


def test_a_server_that_lets_one_wait_is_asked_less_often(guarded: GuardedTracker, store: Store) -> None:
    store.down, store.seconds = TimeoutError(), 40.0
    guarded.start_sweep({}, {})
    asked_at = store.now
    while len(store.tried) == 1:
        store.now += 1
        guarded.log_hypervolume({}, 1)
    assert store.now - store.seconds - asked_at >= PAUSE_PER_ATTEMPT * store.seconds


@pytest.mark.parametrize("refusal", [MlflowException("bad value", INVALID_PARAMETER_VALUE), AssertionError("ours")])
def test_a_refused_write_holds_up_no_other(
    guarded: GuardedTracker, store: Store, said: list[str], refusal: Exception
) -> None:
    guarded.start_sweep({}, {})
    store.down = refusal
    guarded.start_trial(spec("a"))
    guarded.start_trial(spec("b"))
    store.down = None
    guarded.end_trial(record("a"), {}, [])
    guarded.finish("completed")
    assert store.written == ["sweep", "end a", "files", "completed"]
    assert len(said) == 2
    assert "refused starts of trials" in said[0]
    assert "not written to MLflow at http://mlflow:5000: 2 x starts of trials;" in said[1]


def once(call: Callable[..., Any], failure: Exception) -> Callable[..., Any]:
    """`call`, but for the first time, when it raises."""
    failures = [failure]

    def raises_first(*given: Any, **named: Any) -> Any:
        if failures:
            raise failures.pop()
        return call(*given, **named)

    return raises_first


def test_a_write_made_again_after_half_of_it_opens_no_second_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, store: Store, said: list[str]
) -> None:
    tracker = Tracker(f"sqlite:///{tmp_path}/mlflow.db", "half")
    guarded = GuardedTracker(tracker, tmp_path, said.append, lambda: store.now)
    client = tracker._client
    monkeypatch.setattr(client, "log_batch", once(client.log_batch, ConnectionError("gone")))
    guarded.start_sweep({"mode": "compare"}, {})
    monkeypatch.setattr(client, "create_run", once(client.create_run, ConnectionError("gone")))
    store.now += FIRST_PAUSE_SECONDS
    guarded.start_trial(spec("t1", beta=0.1))
    assert guarded.open_run("t1") is None
    store.now += FIRST_PAUSE_SECONDS
    guarded.end_trial(record("t1"), {}, [0.7, 0.6])
    guarded.finish("completed")
    runs = client.search_runs([tracker.experiment_id])
    assert sorted(r.info.run_name for r in runs) == ["half", "t1"]
    assert {r.info.status for r in runs} == {"FINISHED"}
    child = next(r for r in runs if r.info.run_name == "t1")
    assert (child.data.params["beta"], child.data.metrics["reward"], child.data.metrics["loss"]) == ("0.1", 0.5, 0.6)


def test_a_dead_server_is_noticed_within_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "MLFLOW_HTTP_REQUEST_TIMEOUT"):
        monkeypatch.delenv(name, raising=False)
    begun = time.monotonic()
    with pytest.raises(ValueError, match="tracking URI http://127.0.0.1:1 cannot be used"):
        Tracker("http://127.0.0.1:1", "demo")
    assert time.monotonic() - begun < 10
