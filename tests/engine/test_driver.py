"""What the driver makes of trials that complete, fail, diverge or are interrupted; the trials are stand-ins."""

import dataclasses
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from omsweep.engine import run as driver
from omsweep.engine import watching
from omsweep.engine.run import run_sweep
from omsweep.plan.optuna import StudyProposer
from omsweep.plan.proposer import Proposal
from omsweep.space.build import build_space
from omsweep.store.folder import SweepFolder
from omsweep.store.records import Outcome, Prepared, TrialSpec
from tests import stub_work
from tests.stub_work import STUB

pytestmark = pytest.mark.usefixtures("local_ray")


def content(**changes: Any) -> dict[str, Any]:
    made: dict[str, Any] = {
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
        "train": {"steps": 12, "batch_size": 8, "backend": "inprocess"},
    }
    return made | changes


def run(tmp_path: Path, made: dict[str, Any], work: Any = STUB) -> tuple[int, SweepFolder]:
    return run_sweep(build_space(made), "s", tmp_path, work=work), SweepFolder(tmp_path, "s")


def mlflow_runs(tmp_path: Path) -> tuple[Run, dict[str, Run]]:
    """The sweep's run, and those of its trials by trial id."""
    client = MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
    experiments = [one.experiment_id for one in client.search_experiments()]
    runs = client.search_runs(experiments, "tags.sweep = 's'")
    (parent,) = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    children = {run.data.tags["trial_id"]: run for run in runs if run is not parent}
    assert all(run.data.tags["mlflow.parentRunId"] == parent.info.run_id for run in children.values())
    return parent, children


def mistaken(spec: TrialSpec) -> TrialSpec:
    """A trial that no trainer accepts."""
    return spec.model_copy(update={"train": {**(spec.train or {}), "learning_rate": -1.0}})


def planted(draw: Callable[..., list[TrialSpec]]) -> Callable[..., list[TrialSpec]]:
    """The design with a mistake in every trial of OnDARE."""
    return lambda space: [mistaken(spec) if spec.label == "ondare" else spec for spec in draw(space)]


def test_every_trial_is_stored_tracked_and_reported(tmp_path: Path) -> None:
    code, folder = run(tmp_path, content())
    trials = folder.trials()
    assert (code, [trial.state for trial in trials]) == (0, ["completed"] * 3)
    parent, children = mlflow_runs(tmp_path)
    assert {parent.info.status, *(run.info.status for run in children.values())} == {"FINISHED"}
    for trial in trials:
        logged = children[trial.trial_id]
        assert trial.mlflow_run_id == logged.info.run_id
        assert logged.data.metrics["reward"] == pytest.approx(trial.reward)
        assert logged.data.params["learning_rate"] == "0.0004"
        assert trial.trial_id in folder.report_html.read_text()
    assert parent.data.metrics["hypervolume"] == pytest.approx((folder.front() or {})["hypervolume"])


def test_a_trial_that_raises_fails_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(driver, "draw", planted(driver.draw))
    code, folder = run(tmp_path, content(posthoc={"same": {"method": "linear", "weights": [1.0]}}))
    by_label = {trial.label: trial for trial in folder.trials()}
    assert code == 0
    assert {label: trial.state for label, trial in by_label.items()} == {
        "adamw": "completed",
        "ondare": "failed",
        "onties": "completed",
        "adamw+same": "completed",
        "onties+same": "completed",
    }
    assert "left out 1 post-hoc points" in capsys.readouterr().out
    failed = by_label["ondare"]
    assert failed.error == "ValueError: learning_rate must be positive, got -1.0"
    _, children = mlflow_runs(tmp_path)
    assert children[failed.trial_id].info.status == "FAILED"
    assert children[failed.trial_id].data.tags["error"] == failed.error
    members = (folder.front() or {})["members"]
    assert all(member["reward_report"] is not None for member in members)


def test_a_point_that_raises_costs_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The plan of a sweep whose second point of three cannot be made."""
    grids = {"line": {"method": "linear", "weights": [0.2, 0.5, 0.8], "of": ["adamw"]}}
    work = dataclasses.replace(STUB, points=broken_at_half)
    code, folder = run(tmp_path, content(posthoc=grids), work)
    states = {t.params["posthoc"]["weight"]: (t.state, t.error) for t in folder.trials() if t.kind == "posthoc"}
    assert code == 0
    assert states == {0.2: ("completed", None), 0.5: ("failed", "RuntimeError: half"), 0.8: ("completed", None)}


def broken_at_half(*given: Any) -> Callable[[TrialSpec], Outcome]:
    score = stub_work.points(*given)

    def scored(spec: TrialSpec) -> Outcome:
        if (spec.point or {})["weight"] == 0.5:
            raise RuntimeError("half")
        return score(spec)

    return scored


def test_a_sweep_without_a_completed_trial_is_a_failure(tmp_path: Path) -> None:
    made = content()
    made["space"] |= {"learning_rate": 1e30, "method": {"adamw": {}}}
    code, folder = run(tmp_path, made)
    (trial,) = folder.trials()
    assert (code, trial.state, trial.reward) == (1, "diverged", None)
    assert "not finite" in str(trial.error)
    parent, children = mlflow_runs(tmp_path)
    assert {parent.info.status, children[trial.trial_id].info.status} == {"FAILED"}


def test_a_search_is_told_of_a_failure_and_goes_on_to_its_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    proposers: list[StudyProposer] = []

    class Planting(StudyProposer):
        def __init__(self, *given: Any) -> None:
            super().__init__(*given)
            proposers.append(self)

        def next(self) -> Proposal | None:
            made = super().next()
            return (
                made._replace(spec=mistaken(made.spec))
                if made is not None and len(self.studies["tiny-llama"].trials) == 3
                else made
            )

    monkeypatch.setattr(driver, "StudyProposer", Planting)
    made = content(mode="search", search={"trials": 8, "startup_trials": 3}, baselines={"learning_rate": [2e-4, 4e-4]})
    del made["design"]
    made["space"]["learning_rate"] = {"loguniform": [1e-4, 1e-3]}
    code, folder = run(tmp_path, made)
    trials = folder.trials()
    assert (code, len(trials)) == (0, 8)
    assert [trial.state for trial in trials].count("failed") == 1
    states = [trial.state.name for trial in proposers[0].studies["tiny-llama"].trials]
    assert (states.count("FAIL"), states.count("COMPLETE")) == (1, 7)
    proposals = [trial.params["proposal"] for trial in trials]
    assert proposals.count("baseline") == 2
    assert "model" in proposals


def test_a_tracking_store_that_dies_in_the_middle_costs_no_trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    calls = 0
    log_batch = MlflowClient.log_batch

    def dying(self: MlflowClient, *given: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls > 4:
            raise ConnectionError("the server is gone")
        return log_batch(self, *given, **named)

    monkeypatch.setattr(MlflowClient, "log_batch", dying)
    monkeypatch.setattr(driver, "FLUSH_SECONDS", 2.0)
    code, folder = run(tmp_path, content())
    assert (code, [trial.state for trial in folder.trials()]) == (0, ["completed"] * 3)
    assert folder.report_html.is_file()
    said = capsys.readouterr().out
    assert said.count("cannot be written") == 1
    assert "results of trials" in said


def slow_after_the_first(spec: TrialSpec, prepared: Prepared, folder: Path, **given: Any) -> Outcome:
    if spec.block:
        time.sleep(60)
    return stub_work.session(spec, prepared, folder, **given)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_sweep_with_its_report(tmp_path: Path, number: signal.Signals) -> None:
    made = content(train={"steps": 12, "batch_size": 8, "backend": "inprocess", "concurrent_trials": 1})
    made |= {"design": {"blocks": 2}}
    folder = SweepFolder(tmp_path, "s")

    def statuses() -> list[str]:
        return [run.info.status for run in mlflow_runs(tmp_path)[1].values()]

    def interrupt_once_running() -> None:
        while not folder.exists() or len(folder.trials()) < 3 or sorted(statuses()) != ["FINISHED"] * 3 + ["RUNNING"]:
            time.sleep(0.05)
        os.kill(os.getpid(), number)

    threading.Thread(target=interrupt_once_running, daemon=True).start()
    code, _ = run(tmp_path, made, dataclasses.replace(STUB, session=slow_after_the_first))
    assert (code, len(folder.trials())) == (130, 3)
    assert folder.front_json.is_file()
    assert folder.report_html.is_file()
    assert mlflow_runs(tmp_path)[0].info.status == "KILLED"
    assert sorted(statuses()) == ["FINISHED"] * 3 + ["KILLED"]


def test_the_same_command_again_goes_on_and_another_space_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, folder = run(tmp_path, content())
    before, started = folder.trials(), mlflow_runs(tmp_path)
    assert run(tmp_path, content())[0] == 0
    assert folder.trials() == before
    assert "is finished" in capsys.readouterr().out
    assert mlflow_runs(tmp_path)[1].keys() == started[1].keys()
    other = content()
    other["space"] |= {"learning_rate": 5e-4}
    with pytest.raises(ValueError, match=r"space.learning_rate is 0.0004 there and 0.0005 here"):
        run(tmp_path, other)
    with pytest.raises(ValueError, match=r"design.blocks is 1 there and 2 here. `omsweep extend`"):
        run(tmp_path, content(design={"blocks": 2}))
    code = run_sweep(build_space(content(design={"blocks": 2})), "s", tmp_path, work=STUB, extend=True)
    assert (code, len(folder.trials())) == (0, 6)
    assert folder.trials()[:3] == before
    statuses = {name: one.info.status for name, one in mlflow_runs(tmp_path)[1].items()}
    assert statuses == dict.fromkeys(statuses, "FINISHED")
    assert len(statuses) == 6


def test_a_sweep_from_before_the_log_is_not_gone_on_with(tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "sweep.json").write_text("{}")
    with pytest.raises(ValueError, match=f"sweep {tmp_path / 's'} is from before omsweep kept a log"):
        run(tmp_path, content())


def troubled(spec: TrialSpec, prepared: Prepared, folder: Path, **given: Any) -> Outcome:
    """AdamW's process is killed in its first attempt, OnDARE's always, and OnTIES' stops itself, as one that hangs."""
    tries = folder / "tries" / spec.trial_id
    tries.mkdir(parents=True, exist_ok=True)
    (tries / str(len(list(tries.iterdir())))).touch()
    if spec.label == "onties":
        os.kill(os.getpid(), signal.SIGSTOP)
        time.sleep(600)  # a process of several threads stops a moment later
    if spec.label == "ondare" or len(list(tries.iterdir())) == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return stub_work.session(spec, prepared, folder, **given)


def test_processes_that_die_or_hang_cost_attempts_and_no_other_trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "SILENT_SECONDS", 6.0)
    made = content()
    code, folder = run(tmp_path, made, dataclasses.replace(STUB, session=troubled))
    trials = {str(trial.label): trial for trial in folder.trials()}
    assert code == 0
    assert {label: (one.state, one.attempts) for label, one in trials.items()} == {
        "adamw": ("completed", 2),
        "ondare": ("failed", 3),
        "onties": ("failed", 2),
    }
    assert str(trials["onties"].error) == (
        "hung: no sign of life for 6 s (2 times); raise train.trial_timeout where it is too short"
    )
    known = {one.fields["label"]: one.lost for one in folder.state().trials.values()}
    assert {label: [one.reason for one in lost] for label, lost in known.items()} == {
        "adamw": ["process lost"],
        "ondare": ["process lost"] * 3,
        "onties": ["hung"] * 2,
    }
    assert all((folder.path / str(one.traceback)).is_file() for one in known["ondare"])
