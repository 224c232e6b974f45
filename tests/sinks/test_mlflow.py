"""What a sweep leaves in MLflow, read back through MlflowClient from a sqlite store."""

import logging
import multiprocessing
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import mlflow
import pytest

from omsweep.sinks.cursor import Cursor, experiment_of
from omsweep.sinks.first_connection import absolute, sqlite_uri
from omsweep.sinks.mlflow import MlflowSink
from omsweep.sinks.writes import RUN_STATUS
from omsweep.store.log import SweepLog, read_state
from omsweep.store.records import STATES
from omsweep.store.state import fold
from omsweep.store.storage import FolderStorage
from tests.sinks.story import (
    REFERENCE,
    STORY,
    MemoryStorage,
    created,
    driver,
    ended,
    numbered,
    progress,
    proposed,
    started,
)

BEGUN = (created(), REFERENCE, proposed("a"), started("a"))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One store for the module: its first connection runs every migration."""
    return tmp_path_factory.mktemp("storage")


@pytest.fixture(scope="module")
def uri(place: Path) -> str:
    return f"sqlite:///{place}/runs/mlflow.db"


@pytest.fixture(scope="module")
def client(uri: str) -> mlflow.MlflowClient:
    return mlflow.MlflowClient(tracking_uri=uri)


@pytest.fixture
def runs(
    uri: str, client: mlflow.MlflowClient, request: pytest.FixtureRequest, place: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., dict[str | None, Any]]]:
    """Tells a log, and returns the runs of the test's experiment by trial id, None for the sweep's."""
    monkeypatch.chdir(place)
    experiment = re.sub(r"\W+", "-", request.node.name)

    def tell(*happened: Any, folder: Path = Path("/results/s")) -> dict[str | None, Any]:
        sink = MlflowSink(MemoryStorage(numbered(*happened)), uri, experiment, folder, print)
        sink.start()
        assert sink.flush()
        assert sink.stop()
        found = client.search_runs([client.get_experiment_by_name(experiment).experiment_id])
        return {run.data.tags.get("omsweep.trial_id"): run for run in found}

    yield tell
    assert mlflow.active_run() is None


def points(client: mlflow.MlflowClient, run: Any) -> list[tuple[str, int, int, float]]:
    return sorted(
        (point.key, point.timestamp, point.step, point.value)
        for key in run.data.metrics
        for point in client.get_metric_history(run.info.run_id, key)
    )


def test_the_first_connection_is_quiet_and_leaves_the_loggers_as_they_were(uri, place, caplog, capfd):
    assert not any(place.iterdir())
    with caplog.at_level(logging.INFO):
        MlflowSink(MemoryStorage(), uri, "first", place, print)
    assert not [entry.message for entry in caplog.records if entry.name.startswith(("alembic", "mlflow"))]
    assert "".join(capfd.readouterr()) == ""
    assert logging.getLogger("mlflow.store.db.utils").level == logging.NOTSET


def test_a_trial_is_a_child_with_flattened_params_metrics_and_tags(runs, client):
    parameters = {"method": {"ondare": {"density": 0.5}}, "betas": [0.9, 0.999]}
    outcome = {
        "reward": 0.8,
        "tax": 1.5,
        "scores": {"math": 0.875, "code": 0.5},
        "rewards": {"greedy": 0.7, "sampled": 0.8},
        "diagnostics": {"tau_travel": 0.1, "merge_ratio": None},
        "seconds": {"train": 7.0},
        "merge_active": True,
        "kl": float("inf"),
    }
    trial = proposed("a", **parameters)
    trial[2]["trial"] |= {"block": 0, "baseline": False}
    found = runs(created(), REFERENCE, trial, started("a"), ended("a", **outcome))
    run = found["a"]
    assert (run.info.status, run.info.run_name) == ("FINISHED", "a")
    identity = {
        "trial_id": "a",
        "kind": "trained",
        "family": "f",
        "block": "0",
        "task_vector": "real",
        "baseline": "False",
    }
    settings = {"beta": "0.1", "method.ondare.density": "0.5", "betas": "[0.9, 0.999]"}
    assert run.data.params == identity | settings
    metrics = run.data.metrics
    assert metrics.pop("tax.math") == pytest.approx(2.5)
    assert metrics == {
        "reward": 0.8,
        "tax": 1.5,
        "scores.math": 0.875,
        "scores.code": 0.5,
        "rewards.greedy": 0.7,
        "rewards.sampled": 0.8,
        "diagnostics.tau_travel": 0.1,
        "seconds.train": 7.0,
    }
    tags = run.data.tags
    assert tags["mlflow.parentRunId"] == found[None].info.run_id
    asked = ("family", "block", "baseline", "state", "trial_id", "omsweep.trial_id", "omsweep.sweep_id")
    assert [tags[name] for name in asked] == ["f", "0", "False", "completed", "a", "a", "5eed"]
    assert "merge" not in tags
    assert "error" not in tags


def test_the_front_is_tagged_drawn_and_made_into_models(runs, client, tmp_path, monkeypatch):
    monkeypatch.setattr("omsweep.sinks.front.plotly_library", lambda: "")
    policy = tmp_path / "policy"
    policy.mkdir()
    (policy / "model.safetensors").write_text("weights")
    asked = {"tracking": {"weights": True, "registered_model": "best"}}
    begun = [step for name in "abc" for step in (proposed(name), started(name))]
    ends = [ended("a", reward=0.5, tax=2.0), ended("b", reward=0.4, tax=3.0), ended("c", reward=0.6, tax=1.0)]
    ends[2][2]["outcome"]["policy_path"] = str(policy)
    happened = (created(**asked), REFERENCE, *begun, *ends, driver(closed="completed"))
    for _ in range(2):  # told twice, it is there once
        found = runs(*happened, folder=tmp_path)
    tags = {name: (run.data.tags["front"], run.data.tags.get("front_rank")) for name, run in found.items() if name}
    assert tags == {"a": ("false", ""), "b": ("false", None), "c": ("true", "1")}
    own = found[None]
    assert "**Front of f**" in own.data.tags["mlflow.note.content"]
    assert {"front.csv", "front.html"} <= {entry.path for entry in client.list_artifacts(own.info.run_id)}
    experiment = own.info.experiment_id
    (model,) = client.search_logged_models([experiment])
    assert (model.status, model.source_run_id, model.tags["front"]) == ("READY", found["c"].info.run_id, "true")
    assert {one.key: one.value for one in model.metrics} == {"reward": 0.6, "tax": 1.0}
    assert (Path(model.artifact_location.removeprefix("file://")) / "model.safetensors").read_text() == "weights"
    (version,) = client.search_model_versions("name = 'best'")
    assert (version.run_id, version.source) == (found["c"].info.run_id, model.artifact_location)
    other = (proposed("d"), started("d"), ended("d", reward=0.7, tax=0.5), driver(closed="completed"))
    runs(*happened, *other, folder=tmp_path)
    fronts = {one.tags["trial_id"]: one.tags["front"] for one in client.search_logged_models([experiment])}
    assert fronts == {"c": "false", "d": "true"}


def test_an_experiment_has_the_view_and_a_run_its_data_and_source(runs, client):
    begin = created(families=["f"], evaluate={"tax": "tiny", "reward": "tiny"})
    begin[2].update(versions={"omsweep": "1.0", "torch": "2"}, git_revision="abc")
    found = runs(begin, REFERENCE, proposed("a"), started("a"), ended("a"))
    tags = client.get_experiment(found[None].info.experiment_id).tags
    assert "s: reward and tax" in tags["mlflow.sharedViewState.omsweep-5eed"]
    for run in found.values():
        names = {one.dataset.name for one in run.inputs.dataset_inputs}
        assert names == {"tiny tax suite", "tiny reward prompts"}
        asked = ("mlflow.source.name", "mlflow.source.git.commit", "version.torch", "sweep")
        assert [run.data.tags[name] for name in asked] == ["omsweep run", "abc", "2", "s"]
        assert "viewStateShareKey=omsweep-5eed" in run.data.tags["mlflow.note.content"]


@pytest.mark.parametrize("served", [False, True])
def test_addresses_open_the_runs(uri, client, served, monkeypatch):
    if served:
        monkeypatch.setattr("omsweep.sinks.mlflow.opened", lambda uri, experiment: (None, "7"))
    place = "http://me:hunter2@host:5000/" if served else uri
    sink = MlflowSink(MemoryStorage(), place, "addresses", Path("/results/s"), print)
    *command, runs_line, view_line = sink.addresses(fold(numbered(*BEGUN)))
    experiment = "7" if served else client.get_experiment_by_name("addresses").experiment_id
    base = "http://host:5000" if served else "http://127.0.0.1:5000"
    assert command == ([] if served else [f"MLflow: mlflow ui --backend-store-uri {uri} --host 127.0.0.1"])
    address = f"{base}/#/experiments/{experiment}/runs?workflowType=machine_learning"
    assert runs_line == f"MLflow runs: {address}"
    assert view_line == f"reward and tax: {address}&compareRunsMode=CHART&viewStateShareKey=omsweep-5eed"


def test_a_project_is_the_experiment_and_without_one_it_stays_what_it_was():
    storage = MemoryStorage()
    assert experiment_of(storage, {"name": "file", "project": None}) == "file"
    assert experiment_of(storage, {"name": "file", "project": "shared"}) == "shared"
    Cursor(tracking_uri="u", experiment="former", experiment_id="1").write(storage)
    assert experiment_of(storage, {"name": "file"}) == "former"
    assert experiment_of(storage, {"name": "file", "project": "shared"}) == "shared"


@pytest.mark.parametrize("state", STATES)
def test_statuses_follow_the_contract(runs, state):
    run = runs(*BEGUN, ended("a", state, error="loss is not finite" if state == "diverged" else None))["a"]
    expected = {"completed": "FINISHED", "stopped": "FINISHED", "diverged": "FAILED", "failed": "FAILED"}
    assert run.info.status == expected[state] == RUN_STATUS[state]
    assert run.data.tags["state"] == state
    assert run.data.tags.get("error") == ("loss is not finite" if state == "diverged" else None)


def test_inactive_merging_is_tagged(runs):
    assert runs(*BEGUN, ended("a", merge_active=False))["a"].data.tags["merge"] == "inactive"


def test_a_trial_that_never_started_still_gets_its_run(runs):
    run = runs(created(), proposed("a"), ended("a", "failed", error="no worker"))["a"]
    assert (run.info.status, run.data.params["beta"], run.data.tags["error"]) == ("FAILED", "0.1", "no worker")


def test_many_and_long_values_are_logged_and_cut_with_a_note(runs):
    trial = proposed("a", **{"long": "x" * 9000, "label=a/b": 1, **{f"k{n}": n for n in range(250)}})
    run = runs(created(), trial, started("a"), ended("a", "failed", error="e" * 9000))["a"]
    assert len(run.data.params) == 1 + 252 + 4  # and what identifies the trial
    assert [value for key, value in run.data.params.items() if re.fullmatch("label_a_b-[0-9a-f]{6}", key)] == ["1"]
    assert len(run.data.params["long"]) == 6000
    assert run.data.params["long"].endswith("x [cut: 9000 characters]")
    assert run.data.tags["error"].endswith("e [cut: 9000 characters]")


def test_categories_stay_distinct_in_any_script(runs):
    names = [
        "数学",
        "语文",
        "गणित",
        "गणति",
        "a+b",
        "a*b",
        "C/../D",
        "C/./D",
        "é",
        "e\u0301",
        "x" * 300,
        "x" * 299,
        "a b",
    ]
    scores = dict.fromkeys(names, 0.5)
    reference = ("prepared", None, {"family": "f", "reference": {"scores": scores}, "models": {}})
    metrics = runs(created(), reference, proposed("a"), started("a"), ended("a", scores=scores))["a"].data.metrics
    for kind in ("tax.", "scores."):
        keys = [key for key in metrics if key.startswith(kind)]
        assert len(keys) == len(names)
        assert {f"{kind}数学", f"{kind}é"} <= set(keys)


def test_losses_are_a_curve_by_step(runs, client):
    run = runs(*BEGUN, progress("a", 1, 0.7, None), progress("a", 3, 0.5))["a"]
    history = client.get_metric_history(run.info.run_id, "loss")
    assert {point.step: point.value for point in history} == {1: 0.7, 3: 0.5}


def test_the_hypervolume_has_a_point_for_each_finished_trial(runs, client):
    other = proposed("b")
    other[2]["trial"]["family"] = "g"
    run = runs(*BEGUN, ended("a"), other, started("b"), ended("b", tax=10.0, reward=1.0))[None]
    history = client.get_metric_history(run.info.run_id, "hypervolume")
    assert [(point.step, point.value) for point in history] == [(1, 18.5 * 0.5), (2, (18.5 * 0.5 + 10.0) / 2)]
    history = client.get_metric_history(run.info.run_id, "hypervolume.g")
    assert [(point.step, point.value) for point in history] == [(2, 10.0)]


@pytest.mark.parametrize(
    ("closed", "expected"), [("completed", "FINISHED"), ("failed", "FAILED"), ("interrupted", "KILLED")]
)
def test_closing_ends_the_sweep_and_kills_what_still_runs(runs, client, closed, expected, tmp_path):
    for name in ("sweep.json", "trials.jsonl", "front.png", "unrelated.txt"):
        (tmp_path / name).write_text("x")
    happened = (*BEGUN, proposed("b"), started("b"), ended("a"), driver(closed=closed))
    found = runs(*happened, folder=tmp_path)
    assert (found[None].info.status, found[None].data.tags["state"]) == (expected, closed)
    assert found["a"].info.status == "FINISHED"
    assert (found["b"].info.status, found["b"].data.tags["state"]) == ("KILLED", "interrupted")
    logged = {entry.path for entry in client.list_artifacts(found[None].info.run_id)}
    assert logged == {"sweep.json", "trials.jsonl", "front.png", "front.csv", "front.html"}
    found = runs(*happened, driver(), started("b"))
    assert (found[None].info.status, found[None].data.tags["state"]) == ("RUNNING", "running")
    assert (found["b"].info.status, found["b"].data.tags["state"]) == ("RUNNING", "running")


def test_nothing_lands_outside_the_storage_folder(runs, client, place, tmp_path):
    (tmp_path / "sweep.json").write_text("x")
    run = runs(*BEGUN, driver(closed="completed"), folder=tmp_path)[None]
    assert sorted(entry.name for entry in place.iterdir()) == ["runs"]
    experiment = client.get_experiment(run.info.experiment_id)
    assert experiment.artifact_location == (place / "runs" / "mlartifacts" / experiment.name).as_uri()
    assert list((place / "runs" / "mlartifacts" / experiment.name).rglob("sweep.json"))


def test_the_story_told_twice_and_in_parts_is_there_once(uri, client):
    happened = [(event.kind, event.trial_id, {**event.data, "attempt": event.attempt}) for event in STORY]
    content = {}
    for name, parts in (("whole", [len(happened)]), ("parts", [9, 16, 16, 20, len(happened), 0])):
        storage = MemoryStorage()
        for end in parts:
            if end:
                storage.show(numbered(*happened[:end]))
            else:
                storage.files.clear()
            sink = MlflowSink(storage, uri, name, Path("/results/s"), print)
            sink.start()
            assert sink.flush()
            assert sink.stop()
        found = client.search_runs([client.get_experiment_by_name(name).experiment_id])
        content[name] = sorted(
            (run.info.run_name, run.info.status, run.info.start_time, run.info.end_time, points(client, run))
            for run in found
        )
    assert content["whole"] == content["parts"]
    assert [run[1] for run in content["whole"]] == ["FINISHED", "FINISHED", "FINISHED", "FAILED"]


def test_run_ids_are_told_to_the_log(uri, client, tmp_path):
    storage = FolderStorage(tmp_path)
    log = SweepLog.open(storage)
    try:
        for kind, trial_id, data in BEGUN:
            log.append(kind, trial_id=trial_id, **data)
        sink = MlflowSink(storage, uri, "ids", tmp_path, print, log)
        sink.start()
        assert sink.flush()
        assert sink.stop()
    finally:
        log.close()
    state = read_state(storage)
    found = client.search_runs([client.get_experiment_by_name("ids").experiment_id])
    assert {run.info.run_name: run.info.run_id for run in found} == {"s": state.run_id, "a": state.trials["a"].run_id}


def test_runs_that_were_deleted_are_written_again(uri, client):
    storage = MemoryStorage(STORY)
    ids = []
    for _ in range(2):
        sink = MlflowSink(storage, uri, "deleted", Path("/results/s"), print)
        sink.start()
        assert sink.flush()
        assert sink.stop()
        found = client.search_runs([client.get_experiment_by_name("deleted").experiment_id])
        assert len(found) == 4
        ids.append({run.info.run_id for run in found})
        for run in found:
            client.delete_run(run.info.run_id)
    assert not ids[0] & ids[1]


def start_on(uri: str) -> None:
    MlflowSink(MemoryStorage(), uri, "one", Path("/results/s"), print)


@pytest.mark.parametrize("name", ["team%20a", "what?v=2 #3 数"])
def test_a_database_may_lie_in_a_folder_of_any_name(name, tmp_path):
    folder = tmp_path / name
    uri = sqlite_uri(folder / "mlflow.db")
    assert absolute(uri) == uri
    sink = MlflowSink(MemoryStorage(numbered(*BEGUN)), uri, "s", folder, print)
    sink.start()
    sink.flush(60)
    sink.stop()
    assert (folder / "mlflow.db").stat().st_size > 0
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert len(mlflow.MlflowClient(tracking_uri=uri).search_experiments()) == 2


@pytest.mark.slow
def test_sweeps_that_start_on_a_new_database_at_once_all_get_theirs(tmp_path):
    fork = multiprocessing.get_context("fork")  # with mlflow imported already
    starting = [fork.Process(target=start_on, args=(f"sqlite:///{tmp_path}/mlflow.db",)) for _ in range(2)]
    for process in starting:
        process.start()
    for process in starting:
        process.join(timeout=120)
    assert [process.exitcode for process in starting] == [0, 0]
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    assert sorted(experiment.name for experiment in client.search_experiments()) == ["Default", "one"]


def test_a_deleted_experiment_is_named(uri, client):
    client.delete_experiment(client.create_experiment("gone"))
    with pytest.raises(ValueError, match="'gone' was deleted"):
        MlflowSink(MemoryStorage(), uri, "gone", Path("/results/s"), print)


def test_a_store_that_cannot_be_used_is_named_at_once(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ValueError, match=f"tracking URI sqlite:///{tmp_path}/file/mlflow.db cannot be used"):
        MlflowSink(MemoryStorage(), f"sqlite:///{tmp_path}/file/mlflow.db", "demo", tmp_path, print)


def test_a_password_in_the_uri_is_not_repeated(tmp_path):
    with pytest.raises(ValueError, match="cannot be used") as refusal:
        MlflowSink(MemoryStorage(), "nosuch://user:secret@host/db", "demo", tmp_path, print)
    assert "nosuch://host/db" in str(refusal.value)
    assert "secret" not in str(refusal.value)


def test_a_dead_server_is_noticed_within_seconds_and_need_not_be_there_to_go_on(tmp_path, monkeypatch):
    for name in ("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "MLFLOW_HTTP_REQUEST_TIMEOUT"):
        monkeypatch.delenv(name, raising=False)
    begun = time.monotonic()
    with pytest.raises(ValueError, match="tracking URI http://127.0.0.1:1 cannot be used"):
        MlflowSink(MemoryStorage(), "http://127.0.0.1:1", "demo", tmp_path, print)
    assert time.monotonic() - begun < 10
    said: list[str] = []
    sink = MlflowSink(MemoryStorage(STORY), "http://127.0.0.1:1", "demo", tmp_path, said.append, required=False)
    sink.start()
    assert not sink.flush(timeout=0.1)
    assert not sink.stop(timeout=20)
    assert "1 x the sweep's start" in said[-1]


def test_telemetry_is_off(uri):
    from mlflow.telemetry.client import get_telemetry_client

    assert get_telemetry_client() is None
