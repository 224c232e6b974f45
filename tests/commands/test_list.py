"""`omsweep list`: what a storage holds, and what runs on a cluster."""

import json
from pathlib import Path
from typing import Any

import pytest
from ray.job_submission import JobStatus

from omsweep.cli import BAD_USAGE, main
from omsweep.cluster import dashboard
from omsweep.store.lease import Lease, Owner
from omsweep.store.storage import FolderStorage
from tests.cluster.stand_in import Cluster
from tests.example_sweeps import trial
from tests.written_sweep import WrittenSweep

ADDRESS = "RAY_API_SERVER_ADDRESS"


@pytest.fixture(autouse=True)
def _no_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ADDRESS, raising=False)


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """One that ran two sweeps."""
    made = Cluster([], JobStatus.STOPPED, ran=[("first", "FAILED"), ("second", "RUNNING")])
    monkeypatch.setattr(dashboard, "connect", lambda address: made)
    return made


def listed(capsys: pytest.CaptureFixture[str], *options: str) -> Any:
    assert main(["list", *options, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_sweeps_of_a_storage(demo: Any, capsys: pytest.CaptureFixture[str]) -> None:
    storage = demo.storage
    demo.happened("driver", closed="interrupted")
    empty = WrittenSweep(storage, "empty")
    empty.create({"objectives": {}})
    empty.append(trial("one"))
    broken = WrittenSweep(storage, "broken")
    broken.create({})
    broken.events_jsonl.write_bytes(b"{}\n{}\n")
    (storage / "mlartifacts" / "demo").mkdir(parents=True)
    (storage / ".hidden").mkdir()
    driver = Owner(host="far", machine="far", pid=3, start=1, job="omsweep-begun-1")
    lease = Lease.take(FolderStorage(storage / "begun"), owner=driver)
    try:
        found = listed(capsys, "--storage", str(storage))
        assert main(["list", "--storage", str(storage)]) == 0
        shown = capsys.readouterr().out
    finally:
        lease.release()
    rows = {row["name"]: row for row in found["sweeps"]}
    assert (rows.keys(), found["jobs"]) == ({"demo", "empty", "broken", "begun"}, [])
    assert (rows["demo"]["state"], rows["demo"]["ended"], rows["demo"]["planned"]) == ("interrupted", 20, 20)
    family = rows["demo"]["family"]
    assert rows["demo"]["members"] == len(demo.state().fronts[family])
    assert rows["demo"]["hypervolume"] == max(demo.state().hypervolumes().values())
    assert rows["demo"]["time"] == demo.state().time
    assert (rows["empty"]["state"], rows["empty"]["ended"], rows["empty"]["planned"]) == ("abandoned", 1, None)
    assert "the log is damaged" in rows["broken"]["note"]
    assert rows["begun"]["driver"] == "process 3 on far, Ray job omsweep-begun-1"
    assert f"{family}: {rows['demo']['members']}, hypervolume" in shown
    assert "20 of 20" in shown


def test_a_storage_without_sweeps_and_one_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "--storage", str(tmp_path)]) == 0
    assert capsys.readouterr().out == f"no sweep in {tmp_path}\n"
    assert main(["list", "--storage", str(tmp_path / "none")]) == BAD_USAGE
    assert f"{tmp_path / 'none'}: No such file or directory" in capsys.readouterr().err


def test_jobs_of_a_cluster(cluster: Cluster, capsys: pytest.CaptureFixture[str]) -> None:
    found = listed(capsys, "--address", "http://head:8265")
    assert [(one["sweep"], one["job_id"], one["status"]) for one in found["jobs"]] == [
        ("second", "job-1", "RUNNING"),
        ("first", "job-0", "FAILED"),
    ]
    assert found["sweeps"] == []
    assert main(["list", "--address", "http://head:8265"]) == 0
    shown = capsys.readouterr().out
    assert "running" in shown
    assert "job-1" in shown


def test_the_cluster_of_the_environment_is_asked_where_no_storage_is_named(
    cluster: Cluster, demo: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(ADDRESS, "http://head:8265")
    assert len(listed(capsys)["jobs"]) == 2
    only = listed(capsys, "--storage", str(demo.storage))
    assert (len(only["sweeps"]), only["jobs"]) == (1, [])
