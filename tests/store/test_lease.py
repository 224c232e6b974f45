"""One driver at a time: who dies is followed at once, who is silent after a while, and who wakes up has lost."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from omsweep.store import lease as lease_module
from omsweep.store.lease import Lease, LeaseHeld, LeaseLost, Owner, holder
from omsweep.store.log import SweepLog, read_state
from omsweep.store.storage import EVENTS, FolderStorage

DRIVER = """
import sys
from pathlib import Path
from omsweep.store import lease
lease.BEAT_SECONDS = 0.05
from omsweep.store.log import SweepLog
from omsweep.store.storage import FolderStorage
log = SweepLog.open(FolderStorage(Path(sys.argv[1])))
print("ready", flush=True)
for line in sys.stdin:
    try:
        log.append("started", trial_id=line.strip())
        print("written", flush=True)
    except lease.LeaseLost as error:
        print("LeaseLost", error, flush=True)
"""
ELSEWHERE = Owner(host="node-2", machine="another", pid=1, start=1)


class Driver:
    """A process that holds a sweep's log."""

    def __init__(self, path: Path) -> None:
        command = [sys.executable, "-c", DRIVER, str(path)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        assert self.process.stdin is not None
        self.said, self.told = self.process.stdout, self.process.stdin
        assert self.said.readline() == "ready\n"

    def append(self, trial_id: str) -> str:
        self.told.write(f"{trial_id}\n")
        self.told.flush()
        return self.said.readline()

    def signal(self, number: int) -> None:
        self.process.send_signal(number)
        if number == signal.SIGSTOP:
            os.waitid(os.P_PID, self.process.pid, os.WSTOPPED)


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[Driver]:
    started = Driver(tmp_path)
    yield started
    started.process.kill()
    started.process.communicate()


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("BEAT_SECONDS", 0.05), ("SILENT_SECONDS", 0.6), ("LOOK_SECONDS", 0.05)):
        monkeypatch.setattr(lease_module, name, value)


@pytest.fixture
def storage(tmp_path: Path) -> FolderStorage:
    return FolderStorage(tmp_path)


def test_a_killed_driver_is_followed_at_once(
    driver: Driver, storage: FolderStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert driver.append("a") == "written\n"
    driver.signal(signal.SIGKILL)
    while (owner := holder(storage)) is not None and time.sleep(0.01) is None:  # until it is dead, reaped or not
        assert owner.pid == driver.process.pid

    monkeypatch.setattr(lease_module, "_wait_for_silence", None)
    log = SweepLog.open(storage)
    assert log.state.seq == 1
    log.append("driver")
    log.close()


def test_a_living_driver_is_not_disturbed(driver: Driver, storage: FolderStorage) -> None:
    with pytest.raises(LeaseHeld, match=f"another driver runs this sweep: process {driver.process.pid} on "):
        Lease.take(storage)
    assert driver.append("a") == "written\n"


def test_a_frozen_driver_that_wakes_up_in_time_keeps_its_sweep(driver: Driver, storage: FolderStorage) -> None:
    driver.signal(signal.SIGSTOP)
    looks = []

    def sleep(seconds: float) -> None:
        looks.append(seconds)
        if len(looks) == 3:
            driver.signal(signal.SIGCONT)
        time.sleep(seconds)

    with pytest.raises(LeaseHeld, match=str(driver.process.pid)):
        Lease.take(storage, sleep=sleep)
    assert driver.append("a") == "written\n"


def test_a_frozen_driver_is_followed_and_writes_nothing_when_it_wakes_up(
    driver: Driver, storage: FolderStorage, tmp_path: Path
) -> None:
    assert driver.append("before") == "written\n"
    driver.signal(signal.SIGSTOP)
    said: list[str] = []
    log = SweepLog.open(storage, say=said.append)
    assert f"process {driver.process.pid} on " in said[0]
    log.append("started", trial_id="ours")
    driver.signal(signal.SIGCONT)
    answer = driver.append("too late")
    assert answer.startswith("LeaseLost this driver was silent and the sweep was taken over: ")
    assert f"process {os.getpid()} on " in answer
    log.append("started", trial_id="ours too")
    log.close()
    text = (tmp_path / EVENTS).read_text()
    assert [json.loads(line)["trial_id"] for line in text.splitlines()] == ["before", "ours", "ours too"]


def test_a_lease_that_was_given_back_is_taken_at_once(storage: FolderStorage) -> None:
    first = Lease.take(storage, owner=ELSEWHERE)
    assert holder(storage) == ELSEWHERE
    first.release()
    first.release()
    assert holder(storage) is None
    second = Lease.take(storage, sleep=no_sleep)
    assert (second.epoch, second.was_released) == (2, True)
    with pytest.raises(LeaseLost, match="given the sweep back"):
        first.check()
    second.check()
    second.release()


def no_sleep(seconds: float) -> None:
    raise AssertionError("waited")


def test_silence_is_waited_for_where_a_process_cannot_be_seen(storage: FolderStorage) -> None:
    first = Lease.take(storage, owner=ELSEWHERE)
    first._ended.set()  # its heart stops
    first._beats.join()
    slept: list[float] = []
    said: list[str] = []
    second = Lease.take(storage, sleep=slept.append, say=said.append)
    assert sum(slept) == pytest.approx(lease_module.SILENT_SECONDS)
    assert said == ["process 1 on node-2 holds this sweep and is silent; it is taken over after 1 s"]
    assert (second.epoch, second.was_released) == (2, False)
    second.release()


@pytest.mark.parametrize("takers", [2, 5])
def test_who_lost_is_told_however_often_the_sweep_was_taken_over(storage: FolderStorage, takers: int) -> None:
    first = Lease.take(storage, owner=ELSEWHERE)
    for _ in range(takers):
        beating = storage.read("lease/00000001.json")
        storage.write("lease/00000001.json", (beating or b"").replace(b'"beat": 0', b'"beat": null'))
        following = Lease.take(storage)
        following.release()
    with pytest.raises(LeaseLost, match="taken over"):
        first.check()
    first._ended.set()


def test_a_taker_that_was_frozen_itself_looks_again(storage: FolderStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock of a frozen process goes on: it must not count as the other's silence."""
    first = Lease.take(storage, owner=ELSEWHERE)
    monkeypatch.setattr(lease_module.time, "monotonic", iter(range(0, 10**6, 1000)).__next__)
    with pytest.raises(LeaseHeld):
        Lease.take(storage, sleep=lambda seconds: threading.Event().wait(0.2))
    first.release()


def test_of_many_that_take_over_one_succeeds(storage: FolderStorage) -> None:
    taken: list[Lease] = []
    held: list[LeaseHeld] = []
    start = threading.Barrier(12)

    def take() -> None:
        start.wait()
        try:
            taken.append(Lease.take(storage, owner=replace(ELSEWHERE, start=threading.get_ident())))
        except LeaseHeld as error:
            held.append(error)

    threads = [threading.Thread(target=take) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(taken), len(held)) == (1, 11)
    taken[0].release()


def test_a_beat_that_fails_is_followed_by_others(storage: FolderStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    write: Callable[[str, bytes], None] = storage.write
    beats: list[int] = []

    def fails_first(name: str, content: bytes) -> None:
        beats.append(1)
        if len(beats) < 3:
            raise OSError("no room")
        write(name, content)

    monkeypatch.setattr(storage, "write", fails_first)
    lease = Lease.take(storage)
    while len(beats) < 4:
        time.sleep(0.01)
    assert json.loads(storage.read("lease/00000001.json") or b"")["beat"] >= 3
    lease.release()


def test_a_number_that_another_process_has_now_is_dead() -> None:
    here = Owner.here()
    assert not here.dead
    assert replace(here, start=here.start - 1).dead
    assert not replace(here, machine="another", start=here.start - 1).dead


def test_a_log_that_was_closed_takes_nothing(storage: FolderStorage) -> None:
    log = SweepLog.open(storage)
    log.append("driver")
    log.close()
    with pytest.raises(LeaseLost, match="given the sweep back"):
        log.append("tracked", run_id="late")
    assert read_state(storage).seq == 1


def test_a_driver_that_is_a_ray_job_says_which(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = {"runtime_env": {}, "metadata": {"job_submission_id": "omsweep-first-1"}}
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", json.dumps(config))
    lease = Lease.take(FolderStorage(tmp_path))
    try:
        owner = holder(FolderStorage(tmp_path))
    finally:
        lease.release()
    assert owner is not None
    assert owner.is_here
    assert str(owner).endswith(", Ray job omsweep-first-1")


def test_an_owner_of_another_omsweep_is_read(tmp_path: Path) -> None:
    """One that knew of no jobs, and one that says more than this one."""
    storage = FolderStorage(tmp_path)
    said = {"host": "far", "machine": "far", "pid": 3, "start": 1}
    for epoch, owner in enumerate((said, {**said, "rack": 7})):
        content = {"epoch": epoch, "owner": owner, "beat": 0, "time": 0}
        storage.write(f"lease/{epoch:08d}.json", json.dumps(content).encode())
        assert holder(storage) == Owner(**said)
