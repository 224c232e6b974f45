"""Small real sweeps on a real Ray: both backends, both modes, one and two workers, failures, interruption."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from mlflow import MlflowClient
from mlflow.entities import Run

from omsweep.cli import main
from omsweep.store import TRIAL_FIELDS, SweepFolder, TrialRecord
from omsweep.sweep import tuner
from omsweep.sweep.search import StudySearcher

pytestmark = pytest.mark.slow

STEPS = 12


def space(**changes: Any) -> dict[str, Any]:
    content: dict[str, Any] = {
        "name": "small",
        "mode": "compare",
        "families": ["tiny-llama"],
        "space": {
            "algorithm": "dpo",
            "learning_rate": 4e-4,
            "beta": 0.1,
            "method": {
                "adamw": {},
                "ondare": {"semantics": "equations", "tau_travel": 0.05, "density": 0.5},
                "onties": {"semantics": "equations", "alpha": 1e-3, "density": 0.5},
            },
        },
        "design": {"blocks": 1},
        "train": {"steps": STEPS, "batch_size": 8, "backend": "inprocess"},
        "evaluate": {"limit": 8, "samples": 2, "max_new_tokens": 24},
    }
    return content | changes


def write(tmp_path: Path, content: dict[str, Any]) -> Path:
    file = tmp_path / "space.yaml"
    file.write_text(yaml.safe_dump(content))
    return file


def run(tmp_path: Path, content: dict[str, Any], name: str = "s") -> tuple[int, list[TrialRecord], SweepFolder]:
    code = main(["run", str(write(tmp_path, content)), "--name", name, "--storage", str(tmp_path / "runs")])
    folder = SweepFolder(tmp_path / "runs", name)
    return code, folder.trials(), folder


def mlflow_runs(tmp_path: Path, name: str = "s") -> tuple[Run, list[Run], MlflowClient]:
    client = MlflowClient(f"sqlite:///{tmp_path / 'runs' / 'mlflow.db'}")
    experiment = client.get_experiment_by_name(name)
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    parents = [r for r in runs if "mlflow.parentRunId" not in r.data.tags]
    assert len(parents) == 1
    children = [r for r in runs if r.data.tags.get("mlflow.parentRunId") == parents[0].info.run_id]
    assert len(children) == len(runs) - 1
    return parents[0], children, client


def losses(client: MlflowClient, child: Run) -> np.ndarray:
    history = client.get_metric_history(child.info.run_id, "loss")
    return np.array([m.value for m in sorted(history, key=lambda m: m.step)])


def test_compare_in_process_is_stored_tracked_and_reported(tmp_path: Path) -> None:
    code, trials, folder = run(tmp_path, space())
    assert code == 0
    assert [t.state for t in trials] == ["completed"] * 3
    assert {t.label for t in trials} == {"adamw", "ondare", "onties"}
    for trial in trials:
        assert None not in (trial.reward, trial.tax, trial.kl, trial.benchmark_average, trial.weights_hash)
        assert trial.steps == STEPS
        assert trial.params["learning_rate"] == 4e-4
        scores = folder.scores(trial.trial_id)
        assert set(scores["kind"]) == {"tax", "reward"}
        assert set(scores["split"]) == {"search"}
        assert Path(str(trial.policy_path), "model.safetensors").is_file()
    by_label = {t.label: t for t in trials}
    assert by_label["adamw"].learning_rate_applied == pytest.approx(4e-4)
    assert by_label["ondare"].learning_rate_applied == pytest.approx(4e-4 / 0.5)
    assert 4e-4 < by_label["onties"].learning_rate_applied < 4e-4 / 0.5  # top-p keeps more than its share
    assert by_label["ondare"].diagnostics["tau_travel"] == pytest.approx(0.05, rel=0.1)

    parent, children, client = mlflow_runs(tmp_path)
    assert parent.info.status == "FINISHED"
    assert [c.info.status for c in children] == ["FINISHED"] * 3
    for child in children:
        trial = next(t for t in trials if t.mlflow_run_id == child.info.run_id)
        assert child.data.metrics["reward"] == pytest.approx(trial.reward)
        assert child.data.metrics["tax"] == pytest.approx(trial.tax)
        assert len(losses(client, child)) == STEPS
        assert {f"tax.{category}" for category in trial.scores} <= set(child.data.metrics)
    steps = [m.step for m in client.get_metric_history(parent.info.run_id, "hypervolume")]
    assert sorted(steps) == [1, 2, 3]
    assert {a.path for a in client.list_artifacts(parent.info.run_id)} >= {"front.json", "front.png", "report.html"}

    front = json.loads((folder.path / "front.json").read_text())
    assert front["members"]
    assert all(m["reward_report"] is not None and m["tax_report"] is not None for m in front["members"])
    lines = folder.trials_jsonl.read_text().splitlines()
    assert all(list(json.loads(line)) == list(TRIAL_FIELDS) for line in lines)
    assert "NaN" not in folder.trials_jsonl.read_text()


def test_an_existing_sweep_is_refused_and_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "runs" / "s").mkdir(parents=True)
    code, _, _ = run(tmp_path, space())
    assert code == 2
    assert str(tmp_path / "runs" / "s") in capsys.readouterr().err


def test_backends_and_numbers_of_workers_agree(tmp_path: Path) -> None:
    """dpo and ipo in the Tune actor, in one Ray Train worker and in two: the same global batches, the same losses."""
    curves: dict[str, dict[str, np.ndarray]] = {}
    hashes: dict[str, dict[str, Any]] = {}
    for name, backend, workers in (("inprocess", "inprocess", 1), ("one", "train", 1), ("two", "train", 2)):
        content = space(train={"steps": STEPS, "batch_size": 8, "workers": workers, "backend": backend})
        method = {"ondare": {"semantics": "released", "alpha": 1e-4, "density": 0.7}}
        content["space"] |= {"algorithm": {"choice": ["dpo", "ipo"]}, "method": method}
        content["design"] = {"blocks": 2}
        code, trials, _ = run(tmp_path, content, name)
        assert (code, [t.error for t in trials]) == (0, [None, None])
        _, children, client = mlflow_runs(tmp_path, name)
        curves[name] = {c.data.tags["algorithm"]: losses(client, c) for c in children}
        hashes[name] = {str(t.algorithm): t.weights_hash for t in trials}
    for algorithm in ("dpo", "ipo"):
        one, two = curves["one"][algorithm], curves["two"][algorithm]
        assert len(one) == len(two) == STEPS
        assert one.std() > 0
        assert np.abs(one - two).max() < 1e-4 * max(1.0, one.max())
        assert hashes["inprocess"][algorithm] == hashes["one"][algorithm] is not None


def planted(draw: Callable[..., list[dict[str, Any]]]) -> Callable[..., list[dict[str, Any]]]:
    """The design with one sample that no trainer accepts."""

    def with_a_mistake(*args: Any) -> list[dict[str, Any]]:
        samples = draw(*args)
        return [s | {"learning_rate": -1.0} if s["label"] == "ondare" else s for s in samples]

    return with_a_mistake


def test_a_worker_that_raises_fails_its_trial_and_the_sweep_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tuner, "draw", planted(tuner.draw))
    content = space(train={"steps": STEPS, "batch_size": 8, "backend": "train"})
    del content["space"]["method"]["onties"]
    code, trials, _ = run(tmp_path, content)
    assert code == 0
    assert {t.label: t.state for t in trials} == {"adamw": "completed", "ondare": "failed"}
    failed = next(t for t in trials if t.state == "failed")
    assert "learning_rate must be positive, got -1.0" in str(failed.error)
    _, children, _ = mlflow_runs(tmp_path)
    child = next(c for c in children if c.info.run_id == failed.mlflow_run_id)
    assert child.info.status == "FAILED"
    assert "learning_rate must be positive" in child.data.tags["error"]


def test_a_run_that_blows_up_is_diverged_not_failed(tmp_path: Path) -> None:
    content = space()
    content["space"] |= {"learning_rate": 1e30, "method": {"adamw": {}}}
    code, trials, _ = run(tmp_path, content)
    assert code == 1
    assert [t.state for t in trials] == ["diverged"]
    assert trials[0].reward is None
    assert "not finite" in str(trials[0].error)
    _, children, _ = mlflow_runs(tmp_path)
    assert [c.info.status for c in children] == ["FAILED"]


def test_search_tells_a_planted_failure_and_goes_on_to_its_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    searchers: list[StudySearcher] = []

    class Planting(StudySearcher):
        def __init__(self, searched: Any) -> None:
            super().__init__(searched)
            searchers.append(self)

        def suggest(self, trial_id: str) -> Any:
            suggested = super().suggest(trial_id)
            if isinstance(suggested, dict) and self._started == 3:
                suggested["sample"]["learning_rate"] = -1.0
            return suggested

    monkeypatch.setattr(tuner, "StudySearcher", Planting)
    content = space(mode="search", search={"trials": 8, "startup_trials": 3}, baselines={"learning_rate": [2e-4, 4e-4]})
    del content["design"]
    content["space"]["learning_rate"] = {"loguniform": [1e-4, 1e-3]}
    code, trials, _ = run(tmp_path, content)
    assert code == 0
    assert len(trials) == 8
    assert [t.state for t in trials].count("failed") == 1
    states = [t.state.name for t in searchers[0].studies["tiny-llama"].trials]
    assert states.count("FAIL") == 1
    assert states.count("COMPLETE") == 7
    proposals = [t.params["proposal"] for t in trials]
    assert proposals.count("baseline") == 2
    assert "model" in proposals


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "hold no records"),
        ([{"question": "a", "chosen": "b"}], "rejected"),
    ],
)
def test_preference_data_that_cannot_be_used_stop_the_sweep_before_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], rows: list[dict[str, str]], message: str
) -> None:
    data = tmp_path / "pairs.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    code, _, folder = run(tmp_path, space(preferences={"path": str(data)}))
    assert code == 2
    error = capsys.readouterr().err.strip()
    assert message in error
    assert len(error.splitlines()) == 1
    assert not folder.exists()


def test_storage_that_cannot_be_written_is_one_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    file = write(tmp_path, space())
    assert main(["run", str(file), "--storage", str(tmp_path / "file" / "runs")]) == 2
    error = capsys.readouterr().err.strip()
    assert str(tmp_path / "file" / "runs") in error
    assert len(error.splitlines()) == 1


def test_ctrl_c_kills_unfinished_runs_writes_the_front_and_exits_130(tmp_path: Path) -> None:
    content = space(train={"steps": 60, "batch_size": 8, "backend": "inprocess", "concurrent_trials": 1})
    content["design"] = {"blocks": 20}
    log = (tmp_path / "log").open("w")
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "omsweep.cli",
            "run",
            str(write(tmp_path, content)),
            "--name",
            "s",
            "--storage",
            str(tmp_path / "runs"),
        ],
        stdout=log,
        stderr=subprocess.STDOUT,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )
    folder = SweepFolder(tmp_path / "runs", "s")
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline and process.poll() is None and len(folder.trials()) < 2:
        time.sleep(0.2)
    while time.monotonic() < deadline and "RUNNING" not in {c.info.status for c in mlflow_runs(tmp_path)[1]}:
        time.sleep(0.1)  # between two trials there is nothing to kill
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=90) == 130, (tmp_path / "log").read_text()
    done = folder.trials()
    assert 2 <= len(done) < 60
    assert folder.front_json.is_file()
    assert folder.report_html.is_file()
    parent, children, _ = mlflow_runs(tmp_path)
    assert parent.info.status == "KILLED"
    statuses = {c.info.run_id: c.info.status for c in children}
    assert all(statuses[str(t.mlflow_run_id)] == "FINISHED" for t in done)
    assert {s for run_id, s in statuses.items() if run_id not in {t.mlflow_run_id for t in done}} == {"KILLED"}
