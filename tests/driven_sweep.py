"""A sweep whose driver is a process of its own: started, killed, started again, and what it found in the end."""

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from omsweep.store.events import Event
from omsweep.store.folder import SweepFolder
from omsweep.store.log import LogReader
from omsweep.store.state import SweepState, apply
from omsweep.strict_json import flatten
from tests.descendants import Descendants

OWN = ("seconds", "attempts", "policy_path", "mlflow_run_id")
"""What may differ between two runs of the same sweep: times, tries and places."""
ENVIRONMENT = {
    "RAY_gcs_rpc_server_reconnect_timeout_s": "10",  # Ray's own minute until a dead head is given up
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
}


def found(storage: Path, name: str = "s") -> dict[str, Any]:
    """Everything a sweep found, without what may differ."""
    folder = SweepFolder(storage, name)
    state = folder.state()
    content = folder.front() or {}
    for member in content["members"]:
        for own in OWN:
            member.pop(own, None)
    records = {one.trial_id: {k: v for k, v in one.to_json().items() if k not in OWN} for one in folder.trials()}
    assert len(records) == len(state.ended())
    lines = folder.trials_jsonl.read_text().splitlines()
    assert len(lines) == len(records)
    return {"records": records, "front": content, "proposed": sorted(state.trials), "closed": state.closed}


class DrivenSweep:
    """One sweep, the command that runs it, and its log as it grows.

    Args:
        ours: where its processes are.
        path: folder for the sweep's storage and what its drivers say.
        made: search space.
        tracking_uri: of MLflow; None for the storage's own.
    """

    def __init__(self, ours: Descendants, path: Path, made: dict[str, Any], tracking_uri: str | None = None) -> None:
        self.storage, self.output = path / "runs", path / "output"
        self.folder = SweepFolder(self.storage, "s")
        path.mkdir(exist_ok=True)
        self._ours, self._space = ours, path / "space.yaml"
        self._space.write_text(yaml.safe_dump(made))
        self._tracking = [] if tracking_uri is None else ["--tracking-uri", tracking_uri]
        self._reader, self._state = LogReader(self.folder.files), SweepState()
        self.events: list[Event] = []

    def start(self, output: Path | None = None, **conditions: Any) -> "subprocess.Popen[bytes]":
        """Start a driver under conditions of `tests.driver_process`."""
        command = [sys.executable, "-m", "tests.driver_process", json.dumps(conditions), "run", str(self._space)]
        command += ["--name", "s", "--storage", str(self.storage), *self._tracking]
        return self._ours.start(command, output or self.output, **ENVIRONMENT)

    def run(self, **conditions: Any) -> int:
        """Run a driver to its end; its exit status."""
        return self.start(**conditions).wait(timeout=900)

    @property
    def state(self) -> SweepState:
        """What the log adds up to now."""
        for event in self._reader.new():
            self.events.append(event)
            self._state = apply(self._state, event)
        return self._state

    def said(self) -> str:
        """What its drivers have said, the end of it."""
        return self.output.read_text()[-4000:] if self.output.exists() else ""

    def check_whole(self, expected: dict[str, Any]) -> None:
        """Nothing lost, nothing doubled, nothing different; FINISHED in MLflow, a run for each trial."""
        here, there = flatten(found(self.storage)), flatten(expected)
        other = {key: (here.get(key), there.get(key)) for key in here | there if here.get(key) != there.get(key)}
        assert not other, f"found here and in an undisturbed sweep: {str(other)[:2000]}"
        assert self.state.closed == "completed"
        ends = Counter(event.trial_id for event in self.events if event.kind == "ended")
        assert ends == dict.fromkeys(expected["proposed"], 1)
        sequence = [event.seq for event in LogReader(self.folder.files).new()]
        assert sequence == list(range(1, len(sequence) + 1))

    def check_mlflow(self, tracking_uri: str) -> None:
        """One run of the sweep and one of each trial, all of them FINISHED, with the log's numbers."""
        from mlflow import MlflowClient  # not where only `found` is wanted: it takes seconds

        client = MlflowClient(tracking_uri)
        experiments = [one.experiment_id for one in client.search_experiments()]
        runs = client.search_runs(experiments, "tags.sweep = 's'")
        by_trial = Counter(run.data.tags.get("trial_id") for run in runs)
        assert by_trial == dict.fromkeys([None, *self.state.trials], 1)
        trials = {run.data.tags.get("trial_id"): run.info.status for run in runs if run.info.status != "FINISHED"}
        other = {
            trial_id: (status, [one.reason for one in trial.lost], trial.outcome) if trial else status
            for trial_id, status in trials.items()
            for trial in [self.state.trials.get(trial_id)]
        }
        assert not other, f"not FINISHED in MLflow: {other}\n{self.said()}"
        for record in (run for run in runs if "trial_id" in run.data.tags):
            trial = self.state.trials[record.data.tags["trial_id"]]
            assert trial.run_id == record.info.run_id
            assert record.data.metrics["reward"] == (trial.outcome or {})["reward"]


def until(condition: Callable[[SweepState], bool], sweep: DrivenSweep) -> Callable[[], bool]:
    """A question about a sweep's state, for `wait_for`."""
    return lambda: condition(sweep.state)
