"""What a sweep leaves in MLflow, read back through MlflowClient from a sqlite store."""

import logging
import re

import mlflow
import pytest
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE

from omsweep.sinks.mlflow import RUN_STATUS, Tracker, trial_metrics
from omsweep.store.records import STATES, TrialRecord, TrialSpec
from omsweep.strict_json import flatten


@pytest.fixture(scope="module")
def storage(tmp_path_factory):
    """One store for the module: its first connection runs every migration."""
    return tmp_path_factory.mktemp("storage")


@pytest.fixture(scope="module")
def uri(storage):
    return f"sqlite:///{storage}/runs/mlflow.db"


@pytest.fixture
def client(uri):
    return mlflow.MlflowClient(tracking_uri=uri)


@pytest.fixture
def tracker(uri, request, storage, monkeypatch):
    monkeypatch.chdir(storage)
    sweep = Tracker(uri, re.sub(r"\W+", "-", request.node.name))
    sweep.start_sweep({"mode": "compare"})
    return sweep


def record(trial_id="t1", **changes):
    known = {"state": "completed", "family": "tiny-llama", "method": "ondare", "reward": 0.8, "tax": 1.5}
    return TrialRecord(trial_id=trial_id, **(known | changes))


def spec(trial_id="t1", **params):
    return TrialSpec(trial_id=trial_id, family="tiny-llama", block=0, params=params)


def test_the_first_connection_is_quiet_and_leaves_the_loggers_as_they_were(tmp_path, caplog, capfd):
    with caplog.at_level(logging.INFO):
        Tracker(f"sqlite:///{tmp_path}/new/mlflow.db", "demo")
    assert not [entry.message for entry in caplog.records if entry.name.startswith(("alembic", "mlflow"))]
    assert "".join(capfd.readouterr()) == ""
    assert logging.getLogger("mlflow.store.db.utils").level == logging.NOTSET


def test_nothing_lands_outside_the_storage_folder(tracker, storage, client, tmp_path):
    (tmp_path / "note.txt").write_text("x")
    tracker.log_artifacts([tmp_path / "note.txt"])
    assert sorted(entry.name for entry in storage.iterdir()) == ["runs"]
    location = client.get_experiment(tracker.experiment_id).artifact_location
    assert location == (storage / "runs" / "mlartifacts" / tracker.experiment).as_uri()
    assert list((storage / "runs" / "mlartifacts").rglob("note.txt"))


def test_a_trial_is_a_child_with_flattened_params_metrics_and_tags(tracker, client):
    parent = tracker.sweep_run_id
    run_id = tracker.start_trial(spec(beta=0.1, method={"ondare": {"density": 0.5}}, betas=[0.9, 0.999]))
    started = client.get_run(run_id)
    assert (started.info.status, started.data.tags["family"]) == ("RUNNING", "tiny-llama")
    tracker.end_trial(
        record(
            scores={"math": 0.875, "code": 0.5},
            rewards={"greedy": 0.7, "sampled": 0.8},
            diagnostics={"tau_travel": 0.1, "merge_ratio": None},
            seconds={"train": 7.0},
            block=0,
            baseline=False,
            merge_active=True,
        ),
        reference_scores={"math": 0.9, "code": 0.5},
    )
    run = client.get_run(run_id)
    assert (run.info.status, run.info.run_name) == ("FINISHED", "t1")
    identity = {"trial_id": "t1", "kind": "trained", "family": "tiny-llama", "block": "0", "task_vector": "real"}
    settings = {"beta": "0.1", "method.ondare.density": "0.5", "betas": "[0.9, 0.999]"}
    assert run.data.params == identity | settings
    metrics = run.data.metrics
    assert metrics.pop("tax.math") == pytest.approx(2.5)
    assert metrics == {
        "reward": 0.8,
        "tax": 1.5,
        "tax.code": 0.0,
        "scores.math": 0.875,
        "scores.code": 0.5,
        "rewards.greedy": 0.7,
        "rewards.sampled": 0.8,
        "diagnostics.tau_travel": 0.1,
        "seconds.train": 7.0,
    }
    tags = run.data.tags
    assert tags["mlflow.parentRunId"] == parent
    assert (tags["family"], tags["block"], tags["baseline"], tags["state"]) == (
        "tiny-llama",
        "0",
        "False",
        "completed",
    )
    assert "merge" not in tags
    assert "error" not in tags


@pytest.mark.parametrize("state", STATES)
def test_statuses_follow_the_contract(tracker, client, state):
    run_id = tracker.start_trial(spec("t1"))
    tracker.end_trial(record(state=state, error="loss is not finite" if state == "diverged" else None))
    run = client.get_run(run_id)
    expected = {"completed": "FINISHED", "stopped": "FINISHED", "diverged": "FAILED", "failed": "FAILED"}
    assert run.info.status == expected[state] == RUN_STATUS[state]
    assert run.data.tags["state"] == state
    assert run.data.tags.get("error") == ("loss is not finite" if state == "diverged" else None)


def test_inactive_merging_is_tagged(tracker, client):
    run_id = tracker.start_trial(spec("t1"))
    tracker.end_trial(record(merge_active=False))
    assert client.get_run(run_id).data.tags["merge"] == "inactive"


def test_numbers_that_are_not_finite_are_left_out(tracker, client):
    run_id = tracker.start_trial(spec("t1"))
    unfinished = record(tax=float("nan"), kl=float("inf"), scores={"math": float("nan")})
    tracker.end_trial(unfinished, reference_scores={"math": 0.9})
    assert client.get_run(run_id).data.metrics == {"reward": 0.8}


def test_a_trial_that_never_started_still_gets_its_run(tracker, client):
    tracker.end_trial(record("late", state="failed", params={"beta": 0.1}, error="no worker"))
    (run,) = [run for run in client.search_runs([tracker.experiment_id]) if run.data.tags.get("trial_id") == "late"]
    assert (run.info.status, run.data.params["beta"], run.data.tags["error"]) == ("FAILED", "0.1", "no worker")


def test_many_and_long_values_are_logged_and_cut_with_a_note(tracker, client):
    run_id = tracker.start_trial(spec(**{"long": "x" * 9000, "label=a/b": 1, **{f"k{n}": n for n in range(250)}}))
    tracker.end_trial(record(state="failed", error="e" * 9000))
    run = client.get_run(run_id)
    assert len(run.data.params) == 252 + 5  # and what identifies the trial
    assert run.data.params["label_a/b"] == "1"
    assert len(run.data.params["long"]) == 6000
    assert run.data.params["long"].endswith("x [cut: 9000 characters]")
    assert run.data.tags["error"].endswith("e [cut: 9000 characters]")


def test_losses_are_a_curve_by_step(tracker, client):
    run_id = tracker.start_trial(spec("t1"))
    tracker.end_trial(record(), losses=[0.7, float("nan"), 0.5])
    points = {point.step: point.value for point in client.get_metric_history(run_id, "loss")}
    assert points == {1: 0.7, 3: 0.5}


def test_hypervolume_has_one_point_per_finished_trial(tracker, client):
    tracker.log_hypervolume({"tiny-llama": 4.0}, step=1)
    tracker.log_hypervolume({"tiny-llama": 4.0, "tiny-qwen2": 10.0}, step=2)
    tracker.log_hypervolume({}, step=3)
    history = client.get_metric_history(tracker.sweep_run_id, "hypervolume")
    assert [(point.step, point.value) for point in history] == [(1, 4.0), (2, 7.0)]
    history = client.get_metric_history(tracker.sweep_run_id, "hypervolume.tiny-qwen2")
    assert [(point.step, point.value) for point in history] == [(2, 10.0)]


def test_a_sweeps_folder_is_logged_on_the_parent(tracker, client, tmp_path):
    for name in ("sweep.json", "trials.jsonl", "front.png", "unrelated.txt"):
        (tmp_path / name).write_text("x")
    tracker.log_artifacts(tmp_path)
    logged = {entry.path for entry in client.list_artifacts(tracker.sweep_run_id)}
    assert logged == {"sweep.json", "trials.jsonl", "front.png"}


@pytest.mark.parametrize(
    ("status", "expected"), [("completed", "FINISHED"), ("failed", "FAILED"), ("interrupted", "KILLED")]
)
def test_finishing_ends_the_parent_and_kills_what_still_runs(tracker, client, status, expected):
    ended, running = tracker.start_trial(spec("t1")), tracker.start_trial(spec("t2"))
    tracker.end_trial(record("t1"))
    tracker.finish(status)
    parent = client.get_run(tracker.sweep_run_id)
    assert (parent.info.status, parent.data.tags["state"]) == (expected, status)
    assert client.get_run(ended).info.status == "FINISHED"
    assert client.get_run(running).info.status == "KILLED"
    assert client.get_run(running).data.tags["state"] == "interrupted"


def test_an_experiment_is_used_again(tracker, uri, client):
    again = Tracker(uri, tracker.experiment)
    again.start_sweep({})
    assert again.experiment_id == tracker.experiment_id
    assert again.sweep_run_id != tracker.sweep_run_id


def test_a_deleted_experiment_is_named(tracker, uri, client):
    client.delete_experiment(tracker.experiment_id)
    with pytest.raises(ValueError, match=f"'{tracker.experiment}' was deleted"):
        Tracker(uri, tracker.experiment)


def test_a_store_that_cannot_be_used_is_named_at_once(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ValueError, match=f"tracking URI sqlite:///{tmp_path}/file/mlflow.db cannot be used"):
        Tracker(f"sqlite:///{tmp_path}/file/mlflow.db", "demo")


def test_a_password_in_the_uri_is_not_repeated():
    with pytest.raises(ValueError, match="cannot be used") as refusal:
        Tracker("nosuch://user:secret@host/db", "demo")
    assert "nosuch://host/db" in str(refusal.value)
    assert "secret" not in str(refusal.value)


def test_no_active_run_is_left_behind(tracker):
    tracker.start_trial(spec("t1"))
    assert mlflow.active_run() is None


def test_telemetry_is_off(tracker):
    from mlflow.telemetry.client import get_telemetry_client

    assert get_telemetry_client() is None


def test_flatten_keeps_lists_and_empty_mappings():
    tree = {"a": {"b": {"c": 1}, "d": {}}, "e": [1, {"f": 2}], "g": None}
    assert flatten(tree) == {"a.b.c": 1, "a.d": {}, "e": [1, {"f": 2}], "g": None}


def test_category_tax_is_reference_minus_policy_in_points():
    metrics = trial_metrics(record(scores={"math": 0.5, "code": 0.25, "new": 1.0}), {"math": 0.75, "code": 0.125})
    assert (metrics["tax.math"], metrics["tax.code"]) == (25.0, -12.5)
    assert "tax.new" not in metrics


def test_a_trial_whose_numbers_are_refused_has_ended_all_the_same(tracker, client, monkeypatch):
    run_id = tracker.start_trial(spec("t1"))

    def refuse(*_, **__):
        raise MlflowException("bad value", INVALID_PARAMETER_VALUE)

    with monkeypatch.context() as patched:
        patched.setattr(tracker, "_log", refuse)
        with pytest.raises(MlflowException):
            tracker.end_trial(record("t1"))
    tracker.finish("completed")
    assert client.get_run(run_id).info.status == "FINISHED"
