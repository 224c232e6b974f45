"""Small real sweeps on a real Ray: both backends, one and two workers, offline merges, interruption."""

import dataclasses
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
import pandas as pd
import pytest
import yaml
from mlflow import MlflowClient
from mlflow.entities import Run

from omsweep.cli import main
from omsweep.engine import run as driver
from omsweep.evaluation.statistics import reward_and_tax
from omsweep.families.load import weights_hash
from omsweep.plan.posthoc import PosthocPlan
from omsweep.results.comparison.question import Question, question_of
from omsweep.results.comparison.trials import read_points
from omsweep.store.folder import SweepFolder
from omsweep.store.records import TRIAL_FIELDS, TrialRecord, TrialSpec
from omsweep.trial.merge import SCRATCH, merged_again

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("local_ray")]

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
        "design": {"blocks": 1, "match": "share"},
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
    return code, folder.trials() if folder.exists() else [], folder


def mlflow_runs(tmp_path: Path, name: str = "s") -> tuple[Run, list[Run], MlflowClient]:
    client = MlflowClient(f"sqlite:///{tmp_path / 'runs' / 'mlflow.db'}")
    experiments = [one.experiment_id for one in client.search_experiments()]
    runs = client.search_runs(experiments, f"tags.sweep = '{name}'")
    parents = [r for r in runs if "mlflow.parentRunId" not in r.data.tags]
    assert len(parents) == 1
    children = [r for r in runs if r.data.tags.get("mlflow.parentRunId") == parents[0].info.run_id]
    assert len(children) == len(runs) - 1
    return parents[0], children, client


def losses(client: MlflowClient, child: Run) -> np.ndarray:
    history = client.get_metric_history(child.info.run_id, "loss")
    return np.array([m.value for m in sorted(history, key=lambda m: m.step)])


POSTHOC: dict[str, Any] = {
    "line": {"method": "linear", "weights": [0.0, 1.0], "of": ["adamw"]},
    "shift": {"method": "tau_shift", "travel_of": "ondare", "of": ["adamw"]},
    "ties": {"method": "ties", "weights": [0.5], "densities": [0.5], "of": ["onties"], "keep": True},
    "broken": {"method": "linear", "weights": [0.5], "of": ["ondare"]},
}


@dataclasses.dataclass
class Compared:
    """A finished compare sweep with post-hoc trials, one of them planted to fail, scored on both splits."""

    tmp_path: Path
    code: int
    folder: SweepFolder
    prepared: dict[tuple[str, int], Any]

    @property
    def trained(self) -> list[TrialRecord]:
        return [t for t in self.folder.trials() if t.kind == "trained"]

    @property
    def merged(self) -> dict[str, TrialRecord]:
        return {str(t.label): t for t in self.folder.trials() if t.kind == "posthoc"} | {
            f"weight {t.params['posthoc']['weight']:g}": t for t in self.folder.trials() if t.method == "linear"
        }


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Compared:
    tmp_path, plan = tmp_path_factory.mktemp("compared"), driver.plan_posthoc

    def planted_plan(*given: Any) -> PosthocPlan:
        made = plan(*given)
        ((parent, broken),) = ((p, s) for p, specs in made.specs.items() for s in specs if s.label == "ondare+broken")
        point = {**broken.point, "weight": 7.0}
        planted = {"point": point, "params": {**broken.params, "posthoc": point}}
        return dataclasses.replace(made, specs={**made.specs, parent: [broken.model_copy(update=planted)]})

    kept: dict[tuple[str, int], Any] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(driver, "plan_posthoc", planted_plan)
        keep = driver.keep_prepared

        def noted(space_: Any, log: Any, folder: Any, ready: Any) -> None:
            kept.update({key: models for key, (models, _) in ready.items()})
            keep(space_, log, folder, ready)

        patch.setattr(driver, "keep_prepared", noted)
        evaluate = {"limit": 8, "samples": 2, "max_new_tokens": 24, "report_split": "all"}
        code, _, folder = run(tmp_path, space(posthoc=POSTHOC, evaluate=evaluate))
    return Compared(tmp_path, code, folder, kept)


def test_compare_in_process_is_stored_tracked_and_reported(compared: Compared) -> None:
    tmp_path, folder, trials = compared.tmp_path, compared.folder, compared.trained
    assert compared.code == 0
    assert [t.state for t in trials] == ["completed"] * 3
    assert {t.label for t in trials} == {"adamw", "ondare", "onties"}
    [shared] = folder.sweep()["contamination"]
    assert (shared["source"], shared["same"]) == ("preferences tiny", 0)
    assert shared["overlapping"] > 0
    for trial in trials:
        assert None not in (trial.reward, trial.tax, trial.kl, trial.benchmark_average, trial.weights_hash)
        assert trial.steps == STEPS
        assert trial.params["learning_rate"] == 4e-4
        scores = folder.scores(trial.trial_id)
        assert set(scores["kind"]) == {"tax", "reward"}
        assert set(scores["split"]) == {"search", "report"}
        reference = folder.reference_scores(trial.family, trial.sft_seed)
        report = reward_and_tax(*(frame[frame["split"] == "report"] for frame in (scores, reference)))
        assert (trial.reward_report, trial.tax_report) == (report["reward"], report["tax"])
        assert trial.kl_report == report["kl"] > 0
        assert Path(str(trial.policy_path), "model.safetensors").is_file()
    by_label = {t.label: t for t in trials}
    assert by_label["adamw"].learning_rate_applied == pytest.approx(4e-4)
    assert by_label["ondare"].learning_rate_applied == pytest.approx(4e-4 / 0.5)
    assert 4e-4 < by_label["onties"].learning_rate_applied < 4e-4 / 0.5  # top-p keeps more than its share
    assert by_label["ondare"].diagnostics["tau_travel"] == pytest.approx(0.05, rel=0.1)

    parent, children, client = mlflow_runs(tmp_path)
    assert parent.info.status == "FINISHED"
    child_of = {c.info.run_id: c for c in children}
    for trial in trials:
        child = child_of[str(trial.mlflow_run_id)]
        assert child.info.status == "FINISHED"
        assert child.data.metrics["reward"] == pytest.approx(trial.reward)
        assert child.data.metrics["tax"] == pytest.approx(trial.tax)
        assert len(losses(client, child)) == STEPS
        assert {f"tax.{category}" for category in trial.scores} <= set(child.data.metrics)
    steps = [m.step for m in client.get_metric_history(parent.info.run_id, "hypervolume")]
    assert sorted(steps) == list(range(1, 3 + 5 + 1))
    assert {a.path for a in client.list_artifacts(parent.info.run_id)} >= {"front.json", "front.png", "report.html"}

    front = json.loads((folder.path / "front.json").read_text())
    assert front["members"]
    assert all(m["reward_report"] is not None and m["tax_report"] is not None for m in front["members"])
    lines = folder.trials_jsonl.read_text().splitlines()
    assert all(list(json.loads(line)) == list(TRIAL_FIELDS) for line in lines)
    assert "NaN" not in folder.trials_jsonl.read_text()


SCORED = (
    "reward",
    "reward_se_items",
    "tax",
    "scores",
    "kl",
    "length_ratio",
    "reward_report",
    "tax_report",
    "kl_report",
)


def test_what_is_merged_after_training_is_scored_like_a_policy(compared: Compared) -> None:
    by_id, merged = {t.trial_id: t for t in compared.trained}, compared.merged
    assert {label: t.state for label, t in merged.items() if "+" in label} == {
        "adamw+line": "completed",
        "adamw+shift": "completed",
        "onties+ties": "completed",
        "ondare+broken": "failed",
    }
    assert "weight of linear must be in [0, 1], got 7.0" in str(merged["ondare+broken"].error)
    for trial in merged.values():
        parent = by_id[str(trial.parent)]
        assert trial.trial_id.startswith(f"{parent.trial_id}+")
        for name in ("family", "algorithm", "block", "seed", "sft_seed", "task_vector"):
            assert getattr(trial, name) == getattr(parent, name)
        assert {k: v for k, v in trial.params.items() if k != "posthoc"} == parent.params

    whole, none = merged["weight 1"], merged["weight 0"]
    parent = by_id[str(whole.parent)]
    assert [getattr(whole, name) for name in SCORED] == [getattr(parent, name) for name in SCORED]
    assert whole.weights_hash == parent.weights_hash
    paired = [compared.folder.scores(t.trial_id) for t in (whole, parent)]
    pd.testing.assert_frame_equal(*paired)
    assert (none.reward, none.tax, none.kl, none.reward_report, none.tax_report) == (0, 0, 0, 0, 0)
    assert none.weights_hash == compared.prepared["tiny-llama", 0].weights_hash

    ended = {t.label: t.diagnostics for t in compared.trained}
    away = ended["ondare"]["travel"] - ended["adamw"]["travel"]
    shift = merged["adamw+shift"]
    assert shift.params["posthoc"] == {"method": "tau_shift", "weight": away, "travel_of": "ondare"}
    assert shift.diagnostics["travel"] == pytest.approx(ended["ondare"]["travel"], rel=1e-3)
    assert shift.diagnostics["residual"] == pytest.approx(ended["adamw"]["residual"], rel=1e-3)


def test_merged_weights_go_unless_kept_and_can_be_made_again(compared: Compared) -> None:
    folder, merged = compared.folder, compared.merged
    kept = [t for t in merged.values() if t.policy_path is not None]
    assert kept == [merged["onties+ties"]]
    assert weights_hash(str(kept[0].policy_path)) == kept[0].weights_hash
    assert not (folder.path / SCRATCH).exists()
    shift = merged["adamw+shift"]
    parent = next(t for t in compared.trained if t.trial_id == shift.parent)
    with merged_again(shift, parent, compared.prepared["tiny-llama", 0], folder.path) as policy:
        assert weights_hash(policy) == shift.weights_hash
    assert not Path(policy).exists()


def test_what_is_merged_is_tracked_as_a_child_of_its_kind(compared: Compared) -> None:
    _, children, _ = mlflow_runs(compared.tmp_path)
    assert len(children) == 3 + 5
    for trial in compared.merged.values():
        child = next(c for c in children if c.info.run_id == trial.mlflow_run_id)
        assert child.info.status == ("FINISHED" if trial.state == "completed" else "FAILED")
        tags, params = child.data.tags, child.data.params
        assert (tags["kind"], tags["parent"], tags["label"]) == ("posthoc", trial.parent, trial.label)
        assert float(params["posthoc.weight"]) == trial.params["posthoc"]["weight"]
        if trial.state == "completed":
            assert child.data.metrics["reward"] == pytest.approx(trial.reward)
            assert child.data.metrics["reward_report"] == pytest.approx(trial.reward_report)


def test_a_sweeps_folder_can_be_compared(compared: Compared) -> None:
    folder = compared.folder
    resolved = folder.sweep()["resolved"]

    def asked(*contrasts: list[str]) -> Question:
        comparison = {"contrasts": contrasts, "tax_limit": 5.0, "delta": 0.1, "baseline": "adamw"}
        question = question_of(resolved | {"comparison": comparison})
        assert question is not None
        return question

    wanted = ("adamw", "ondare", "adamw+shift")
    chosen = [t for t in folder.trials() if t.label in wanted]
    points = read_points(folder.trials(), folder.scores, folder.reference_scores, asked(["ondare", "adamw + shift"]))
    assert points.left_out == ()
    assert points.label.tolist() == [str(t.label).partition("+")[0] for t in chosen]
    assert points.grid.tolist() == [str(t.label).partition("+")[2] for t in chosen]
    assert points.search == pytest.approx(np.array([[t.reward, t.tax, t.kl] for t in chosen]))
    expected = [[t.reward_report, t.tax_report, t.kl_report] for t in chosen]
    assert points.report[:, 0] == pytest.approx(np.array(expected, dtype=float))
    with pytest.raises(ValueError, match="no block of 1 is complete"):
        read_points(folder.trials(), folder.scores, folder.reference_scores, asked(["ondare + broken", "adamw"]))


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.campaign)])
def test_backends_and_numbers_of_workers_agree(tmp_path: Path, workers: int) -> None:
    """In the Tune actor and in Ray Train workers: the same global batches, the same losses; in one, the same weights.

    Algorithms and shardings in two workers: tests/align/test_workers.py.
    """
    curves, hashes = [], []
    for backend, count in (("inprocess", 1), ("train", workers)):
        content = space(train={"steps": STEPS, "batch_size": 8, "workers": count, "backend": backend})
        content["space"]["method"] = {"ondare": {"semantics": "released", "alpha": 1e-4, "density": 0.7}}
        code, trials, _ = run(tmp_path, content, backend)
        assert (code, [t.error for t in trials]) == (0, [None])
        _, (child,), client = mlflow_runs(tmp_path, backend)
        curves.append(losses(client, child))
        hashes.append(trials[0].weights_hash)
    alone, group = curves
    assert len(alone) == len(group) == STEPS
    assert alone.std() > 0
    assert np.abs(alone - group).max() < 1e-4 * max(1.0, alone.max())
    assert None not in hashes
    assert workers > 1 or hashes[0] == hashes[1]


@pytest.mark.parametrize("backend", ["inprocess", pytest.param("train", marks=pytest.mark.campaign)])
def test_trials_that_pause_end_as_if_they_had_not(tmp_path: Path, backend: str) -> None:
    """Every trial pauses at its rung and waits for its turn; who goes on has the weights of a run without rungs."""
    grid = {"algorithm": "dpo", "learning_rate": {"choice": [1e-5, 4e-4, 8e-4]}, "beta": 0.1, "method": {"adamw": {}}}
    content = space(mode="search", search={"algorithm": "grid"}, space=grid)
    content["train"] |= {"backend": backend}
    del content["design"]
    _, whole, _ = run(tmp_path, content, "whole")
    rule = {
        "algorithm": "moasha",
        "variant": "promote",
        "first_rung": 4,
        "eta": 3,
        "never_stop": 0,
        "items": 4,
        "noise": 0.0,
    }
    code, trials, folder = run(tmp_path, content | {"scheduler": rule}, "paused")
    assert code == 0
    states = folder.state().trials
    assert all([rung.step for rung in one.rungs] == [4] for one in states.values())
    kinds = [json.loads(line)["kind"] for line in folder.events_jsonl.read_text().splitlines()]
    assert kinds.count("paused") >= 2
    ended = {one.trial_id: one for one in trials if one.state == "completed"}
    assert ended
    assert {one.attempts for one in ended.values()} <= {1, 2}
    assert max(one.attempts for one in ended.values()) == 2
    without = {one.trial_id: one.weights_hash for one in whole}
    assert {name: one.weights_hash for name, one in ended.items()} == {name: without[name] for name in ended}
    stopped = [one for one in trials if one.state == "stopped"]
    assert len(stopped) + len(ended) == 3
    assert all((one.attempts, one.steps) == (1, 4) for one in stopped)


@pytest.mark.campaign
def test_trials_scored_in_groups_of_their_own_have_the_same_numbers(tmp_path: Path) -> None:
    """One worker trains, two score; each group is given out again, and the front's members are scored in the second."""
    content = space()
    content["train"] |= {"backend": "train", "concurrent_trials": 1}
    _, whole, where = run(tmp_path, content, "whole")
    apart = content["evaluate"] | {"workers": 2, "resources_per_worker": {"cpus": 0.5}}
    code, trials, folder = run(tmp_path, content | {"evaluate": apart}, "apart")
    assert code == 0
    own = {"seconds", "attempts", "policy_path", "mlflow_run_id"}
    found, expected = ({one.trial_id: one.model_dump(exclude=own) for one in of} for of in (trials, whole))
    assert found == expected
    assert all(one.reward is not None and one.attempts == 2 for one in trials)
    for trial_id in found:
        pd.testing.assert_frame_equal(folder.scores(trial_id), where.scores(trial_id))
    reports = [of.state().report_scores() for of in (folder, where)]
    assert reports[0] == reports[1] != {}
    events = [json.loads(line) for line in folder.events_jsonl.read_text().splitlines()]
    for trial_id in found:
        kinds = [
            one["kind"]
            for one in events
            if one.get("trial_id") == trial_id and one["kind"] not in ("progress", "tracked")
        ]
        assert [one for one in kinds if one in ("started", "paused", "ended")] == [
            "started",
            "paused",
            "started",
            "ended",
        ]
        assert kinds.index("trained") < kinds.index("paused")
    groups = {file.name.rsplit("-", 1)[0] for file in (folder.path / "ray").glob("*-workers-*")}
    assert len(groups) == 2


def planted(draw: Callable[..., list[TrialSpec]]) -> Callable[..., list[TrialSpec]]:
    """The design with one trial that no trainer accepts."""

    def with_a_mistake(*args: Any) -> list[TrialSpec]:
        return [mistaken(spec) if spec.label == "ondare" else spec for spec in draw(*args)]

    return with_a_mistake


def mistaken(spec: TrialSpec) -> TrialSpec:
    return spec.model_copy(update={"train": {**(spec.train or {}), "learning_rate": -1.0}})


@pytest.mark.campaign
def test_a_worker_that_raises_fails_its_trial_and_the_sweep_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(driver, "draw", planted(driver.draw))
    content = space(
        train={"steps": STEPS, "batch_size": 8, "backend": "train"},
        posthoc={"same": {"method": "linear", "weights": [1.0]}},
    )
    del content["space"]["method"]["onties"]
    code, trials, folder = run(tmp_path, content)
    assert code == 0
    assert {t.label: t.state for t in trials} == {"adamw": "completed", "ondare": "failed", "adamw+same": "completed"}
    assert "left out 1 post-hoc points" in capsys.readouterr().out
    members = (folder.front() or {})["members"]  # two equal policies, the second merged again to be rescored
    assert [m["kind"] for m in members] == ["trained", "posthoc"]
    numbers = [[m[name] for name in ("reward_report", "tax_report", "kl_report")] for m in members]
    assert numbers[0] == numbers[1]
    assert None not in numbers[0]
    failed = next(t for t in trials if t.state == "failed")
    assert "learning_rate must be positive, got -1.0" in str(failed.error)
    _, children, _ = mlflow_runs(tmp_path)
    child = next(c for c in children if c.info.run_id == failed.mlflow_run_id)
    assert child.info.status == "FAILED"
    assert "learning_rate must be positive" in child.data.tags["error"]


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


@pytest.mark.campaign
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
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # background shells ignore it
        stdout=log,
        stderr=subprocess.STDOUT,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )
    folder = SweepFolder(tmp_path / "runs", "s")
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline and process.poll() is None and (not folder.exists() or len(folder.trials()) < 2):
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
