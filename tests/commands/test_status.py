"""`omsweep status`: for people and, with `--json`, for programs."""

import json

import pytest
from ray.job_submission import JobStatus

from omsweep.cli import BAD_USAGE, main
from omsweep.cluster import dashboard
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
    }


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
