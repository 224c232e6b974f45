"""`omsweep status`: for people and, with `--json`, for programs."""

import json

import pytest
from ray.job_submission import JobStatus

from omsweep.cli import BAD_USAGE, main
from omsweep.cluster import dashboard
from omsweep.results.progress import Driver
from omsweep.store.lease import Lease, Owner
from tests.cluster.stand_in import Cluster


def status(folder, *options):
    return main(["status", folder.name, "--storage", str(folder.storage), *options])


def test_plain_data(demo, capsys):
    demo.happened("driver", closed="interrupted")
    assert status(demo, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["state"] == "interrupted"
    assert (told["driver"], told["running"], told["waiting"]) == (None, 0, 0)
    assert (told["planned"], told["ended"]) == (20, {"completed": 18, "diverged": 1, "failed": 1})
    assert told["failures"][1]["error"] == "RuntimeError: out of <memory> & time"
    assert told["families"]["tiny-llama"]["members"] == demo_members(demo)
    assert told.keys() == {
        *("name", "state", "driver", "traceback", "planned", "ended", "running", "waiting", "merges_planned", "merged"),
        *("budget", "not_started", "lost", "failures", "scored", "hypervolume", "families"),
        *("at_work", "waits", "seconds_left", "savings"),
    }


def test_what_runs_and_what_waits(folder, make_space, capsys, monkeypatch):
    folder.create(make_space())
    folder.happened("proposed", "a", trial={"family": "tiny-llama", "label": "adamw", "params": {"steps": 50}})
    folder.happened("started", "a", attempt=1)
    folder.happened("progress", "a", attempt=1, first_step=1, losses=[0.7, 0.6])
    monkeypatch.setattr(Driver, "of", lambda storage: Driver(name="process 7 on a"))
    assert status(folder, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    (one,) = told["at_work"]
    assert (one["trial_id"], one["phase"], one["step"], one["steps"], one["loss"]) == ("a", "training", 2, 50, 0.6)
    assert (one["attempt"], one["seconds_left"], told["seconds_left"], told["savings"]) == (1, None, None, None)
    assert told["waits"] == [{"why": "for their turn", "count": 17, "trial_ids": []}]
    assert status(folder) == 0
    said = capsys.readouterr().out
    assert "a      training  2 of 50  0.600" in said
    assert "17 wait for their turn" in said


def demo_members(demo):
    return [one.trial_id for one in demo.state().fronts["tiny-llama"]]


def test_a_sweep_whose_models_are_still_prepared(folder, capsys):
    folder.path.mkdir(parents=True)
    lease = Lease.take(folder.files, owner=Owner(host="far", machine="far", pid=3, start=1))
    try:
        assert status(folder) == BAD_USAGE
    finally:
        lease.release()
    assert "has no trials yet: process 3 on far prepares its models and data" in capsys.readouterr().err
    assert status(folder) == BAD_USAGE
    assert "no sweep in" in capsys.readouterr().err


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_a_damaged_log_is_named(demo, capsys, options):
    text = demo.events_jsonl.read_bytes()
    demo.events_jsonl.write_bytes(text.replace(b"tiny-qwen2-b1", b"tiny-qwen3-b1", 1))
    assert status(demo, *options) == BAD_USAGE
    assert "the log is damaged: line " in capsys.readouterr().err


def test_without_its_folder_a_sweep_is_looked_for_on_its_cluster(tmp_path, capsys, monkeypatch):
    cluster = Cluster([], JobStatus.RUNNING, ran=[("first", "RUNNING")])
    monkeypatch.setattr(dashboard, "connect", lambda address: cluster)
    monkeypatch.delenv("RAY_API_SERVER_ADDRESS", raising=False)
    monkeypatch.chdir(tmp_path)
    assert main(["status", "first"]) == BAD_USAGE
    capsys.readouterr()
    assert main(["status", "first", "--address", "http://head:8265"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "first: job job-0 on http://head:8265, running; the end of its log:"
    assert (len(said), said[-1]) == (31, "job-0 99")
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", "http://head:8265")
    assert main(["status", "first", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["job_id"], told["status"], told["log"][-1]) == ("job-0", "RUNNING", "job-0 99")
    assert main(["status", "fist"]) == BAD_USAGE
    assert "runs a sweep fist: there are jobs of first" in capsys.readouterr().err
