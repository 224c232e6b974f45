"""`omsweep stop`: a driver on this machine, a Ray job, and what is said where neither is found."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from ray.job_submission import JobStatus

from omsweep.cli import BAD_USAGE, main
from omsweep.cluster import dashboard
from omsweep.commands import stop
from omsweep.store.lease import Lease, Owner
from omsweep.store.storage import FolderStorage
from tests.cluster.stand_in import Cluster
from tests.written_sweep import WrittenSweep

DRIVER = """
import signal, sys, time
from pathlib import Path
from omsweep.store.log import SweepLog
from omsweep.store.storage import FolderStorage

def interrupt(*_):
    raise KeyboardInterrupt

signal.signal(signal.SIGTERM, interrupt)
log = SweepLog.open(FolderStorage(Path(sys.argv[1])))
log.append("created", name="first", resolved={})
try:
    print("ready", flush=True)
    time.sleep(60)
except KeyboardInterrupt:
    time.sleep(0.3)
    log.append("driver", did="stopped", closed="interrupted")
    log.close()
"""
FAR = Owner(host="far", machine="far", pid=3, start=1)


@pytest.fixture(autouse=True)
def _no_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_API_SERVER_ADDRESS", raising=False)


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that runs a sweep `first`."""
    command = [sys.executable, "-c", DRIVER, str(tmp_path / "first")]
    started = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert started.stdout is not None
    assert started.stdout.readline() == "ready\n"
    yield started
    started.kill()
    started.communicate()


def stopped(storage: Path, name: str = "first") -> int:
    return main(["stop", name, "--storage", str(storage)])


def test_a_driver_on_this_machine_ends_in_order(
    driver: subprocess.Popen[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert stopped(tmp_path) == 0
    assert driver.wait(10) == 0
    told, said = capsys.readouterr().out.splitlines()
    assert told.startswith(f"told process {driver.pid} on ")
    assert said == "sweep first: interrupted; the same command goes on"
    assert stopped(tmp_path) == BAD_USAGE
    assert capsys.readouterr().err == "omsweep: sweep first does not run: interrupted; the same command goes on\n"


def test_a_driver_that_does_not_react_is_left_after_a_while(
    driver: subprocess.Popen[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stop, "PATIENCE_SECONDS", 0.3)
    driver.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, driver.pid, os.WSTOPPED)
    assert stopped(tmp_path) == 1
    assert f"kill -9 {driver.pid}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("job", "how"),
    [
        (None, "process 3 on far, which is not on this machine: stop it with the command there"),
        (
            "omsweep-first-1",
            "Ray job omsweep-first-1, which is not on this machine: stop it with `omsweep stop --address`",
        ),
    ],
)
def test_a_driver_elsewhere_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], job: str | None, how: str
) -> None:
    owner = Owner(host=FAR.host, machine=FAR.machine, pid=FAR.pid, start=FAR.start, job=job)
    lease = Lease.take(FolderStorage(tmp_path / "first"), owner=owner)
    try:
        assert stopped(tmp_path) == BAD_USAGE
    finally:
        lease.release()
    assert how in capsys.readouterr().err


def test_a_sweep_that_is_not_there_is_answered_with_those_that_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert stopped(tmp_path, "fist") == BAD_USAGE
    assert capsys.readouterr().err == f"omsweep: no sweep fist in {tmp_path}; there is none\n"
    for name in ("first", "second"):
        WrittenSweep(tmp_path, name).create({})
    assert stopped(tmp_path, "fist") == BAD_USAGE
    assert capsys.readouterr().err == f"omsweep: no sweep fist in {tmp_path}; there are first, second\n"


def test_a_job_is_stopped_through_the_dashboard(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = Cluster([], JobStatus.STOPPED, ran=[("first", "RUNNING"), ("second", "SUCCEEDED")])
    monkeypatch.setattr(dashboard, "connect", lambda address: cluster)
    assert main(["stop", "first", "--address", "http://head:8265"]) == 0
    assert cluster.stopped == ["job-0"]
    assert capsys.readouterr().out.splitlines()[-1] == "job job-0 stopped; the same command goes on"
    assert main(["stop", "second", "--address", "http://head:8265"]) == BAD_USAGE
    assert "sweep second does not run on http://head:8265: job job-1 succeeded" in capsys.readouterr().err
    assert main(["stop", "third", "--address", "http://head:8265"]) == BAD_USAGE
    assert "runs a sweep third: there are jobs of second, first" in capsys.readouterr().err
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", "http://head:8265")
    assert main(["stop", "first"]) == 0
    assert cluster.stopped == ["job-0", "job-0"]
