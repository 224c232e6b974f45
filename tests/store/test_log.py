"""The log in its driver's hands: what `append` returned is never lost, and what was not written is told."""

import errno
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from immutables import Map

from omsweep.store import lease as lease_module
from omsweep.store import log as log_module
from omsweep.store import storage as storage_module
from omsweep.store.events import VERSION, DamagedLog, Event, NewerLog, encode, scan
from omsweep.store.folder import SweepFolder
from omsweep.store.lease import LeaseLost
from omsweep.store.log import LogReader, SweepLog, read_state
from omsweep.store.state import SweepState, fold
from omsweep.store.storage import EVENTS, FolderStorage, Storage, StorageAway, StorageFull
from omsweep.store.used import Used
from tests.store.conftest import Again
from tests.store.logs.make import HAPPENED

V1 = (Path(__file__).parent / "logs" / "v1.jsonl").read_bytes()
LINES = V1.splitlines(keepends=True)


def write(log: SweepLog, happened: list[Any] = HAPPENED) -> list[Event]:
    return [
        log.append(kind, trial_id=trial_id, attempt=attempt, sync=kind != "progress", **data)
        for kind, trial_id, attempt, data in happened
    ]


def without_clock(state: SweepState) -> SweepState:
    """A state as it were had everything happened at once."""
    trials = state.trials
    for key, trial in trials.items():
        trials = trials.set(key, trial._replace(started=None, since=0.0, stepped=None))
    used = {"used": Used(trials=state.used.trials), "holding": Map(), "began": None}
    return state._replace(time=0.0, epoch=0, created={**state.created, "created": 0.0}, trials=trials, **used)


def test_what_was_appended_is_read_by_everyone(again: Again) -> None:
    log, reader = SweepLog.open(again()), LogReader(again())
    written, read = [], []
    for one in HAPPENED:
        written += write(log, [one])
        read += reader.new()
    assert written[-1].seq == len(HAPPENED)
    assert log.state == fold(written) == read_state(log.storage)
    log.close()
    read += reader.new()
    assert read == written
    assert [event.kind for event in written] == [one[0] for one in HAPPENED]
    reopened = SweepLog.open(again())
    assert reopened.state == fold(written)
    assert without_clock(reopened.state) == without_clock(fold(scan(V1).events))
    assert write(reopened, HAPPENED[-1:])[0].seq == len(HAPPENED) + 1
    assert [event.epoch for event in reader.new()] == [2]
    reopened.close()


def test_the_state_is_what_a_reader_will_find(tmp_path: Path) -> None:
    log = SweepLog.open(FolderStorage(tmp_path))
    write(log, HAPPENED[:7])
    outcome = {
        "state": "completed",
        "reward": np.float32(0.5),
        "tax": float("nan"),
        "policy_path": Path("/a"),
        "x": (1,),
    }
    event = log.append("ended", trial_id="a", outcome=outcome)
    assert event.data["outcome"] == {"state": "completed", "reward": 0.5, "tax": None, "policy_path": "/a", "x": [1]}
    assert log.state == read_state(log.storage)
    with pytest.raises(ValueError, match="cannot be stored"):
        log.append("ended", trial_id="b", outcome={"state": "completed", "policy": object()})
    assert log.append("driver").seq == event.seq + 1
    log.close()


def test_time_does_not_go_back(tmp_path: Path) -> None:
    log = SweepLog.open(FolderStorage(tmp_path))
    times = iter([10.0, 5.0, 11.0])
    log._clock = lambda: next(times)
    assert [log.append("driver").time for _ in range(3)] == [10.0, 10.0, 11.0]
    log.close()


def test_many_threads_append(tmp_path: Path) -> None:
    log = SweepLog.open(FolderStorage(tmp_path))
    threads = [threading.Thread(target=lambda: [log.append("driver") for _ in range(20)]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    log.close()
    found = scan((tmp_path / EVENTS).read_bytes())
    assert ([event.seq for event in found.events], found.damage) == (list(range(1, 161)), [])


# Kills: a forked process ends itself at the n-th call that reaches the disk, before it or in the middle of it.

CALLS = (
    (os, "write"),
    (os, "fsync"),
    (os, "link"),
    (os, "ftruncate"),
    (os, "open"),
    (Path, "replace"),
    (Path, "unlink"),
)


def killed_at(number: int, path: Path, todo: list[Any], *, half: bool) -> tuple[int, bool]:
    """Run a driver that is killed at its `number`-th call: how many events it appended, and whether it was killed."""
    reads, writes = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reads)
        report = os.write
        try:
            _die_at(number, half)
            log = SweepLog.open(FolderStorage(path))
            for one in todo:
                write(log, [one])
                report(writes, b".")
            log.close()
        finally:
            os._exit(0)
    os.close(writes)
    with os.fdopen(reads, "rb") as pipe:
        appended = len(pipe.read())
    _, status = os.waitpid(child, 0)
    return appended, os.WIFSIGNALED(status)


def _die_at(number: int, half: bool) -> None:
    left = iter(range(number, -1, -1))

    def dying(call: Callable[..., Any]) -> Callable[..., Any]:
        def called(*arguments: Any, **names: Any) -> Any:
            if next(left) == 0:
                if half and call is real_write:
                    real_write(arguments[0], arguments[1][: len(arguments[1]) // 2])
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*arguments, **names)

        return called

    real_write = os.write
    for owner, name in CALLS:
        setattr(owner, name, dying(getattr(owner, name)))


@pytest.mark.parametrize("half", [False, True], ids=["before", "in_the_middle"])
@pytest.mark.parametrize("known", [0, 2])
def test_kill_everywhere(tmp_path: Path, half: bool, known: int) -> None:
    """A driver that begins a sweep, and one that goes on with a torn log, which it cuts first."""
    points, killed, end = 0, True, known + 5
    while killed:
        points += 1
        path = tmp_path / str(points)
        path.mkdir()
        if known:
            (path / EVENTS).write_bytes(b"".join(LINES[:known]) + LINES[known][:30])
        appended, killed = killed_at(points, path, HAPPENED[known:end], half=half)
        began = SweepFolder(tmp_path, str(points)).exists()
        log = SweepLog.open(FolderStorage(path))
        assert began == bool(log.state.created)
        assert log.state.seq in ((known + appended, known + appended + 1) if killed else (end,)), points
        write(log, HAPPENED[log.state.seq : end])
        log.close()
        found = scan((path / EVENTS).read_bytes())
        assert not found.damage
        assert [event.kind for event in found.events] == [one[0] for one in HAPPENED[:end]]
        assert without_clock(fold(found.events)) == without_clock(fold(scan(V1).events[:end]))
    assert points > 20 + known * 5


def test_what_append_returned_is_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    on_disk: dict[int, int] = {}
    fsync = os.fsync

    def recorded(handle: int) -> None:
        fsync(handle)
        on_disk[os.fstat(handle).st_ino] = os.fstat(handle).st_size

    monkeypatch.setattr(storage_module.os, "fsync", recorded)
    log = SweepLog.open(FolderStorage(tmp_path))
    for one in HAPPENED:
        write(log, [one])
        file = (tmp_path / EVENTS).stat()
        assert one[0] == "progress" or on_disk[file.st_ino] == file.st_size
    log.close()


# Full disks and outages


def appended_in_thread(log: SweepLog) -> threading.Thread:
    thread = threading.Thread(target=write, args=(log, HAPPENED[2:8]))
    thread.start()
    return thread


@pytest.mark.parametrize("error", [StorageFull(errno.ENOSPC, "No room"), StorageAway(errno.EIO, "No answer")])
def test_it_waits_until_the_storage_takes_events_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: OSError
) -> None:
    said: list[str] = []
    storage = FolderStorage(tmp_path)
    log = SweepLog.open(storage, say=said.append)
    write(log, HAPPENED[:2])
    append, away = storage.append, threading.Event()
    away.set()

    def refuses(lines: bytes, *, sync: bool) -> None:
        if away.is_set():
            raise error
        append(lines, sync=sync)

    monkeypatch.setattr(log_module, "PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(storage, "append", refuses)
    thread = appended_in_thread(log)
    time.sleep(0.1)
    assert thread.is_alive()
    assert read_state(storage).seq == 2
    assert said == [f"{error.strerror}: the sweep waits until its storage takes events again"]
    away.clear()
    thread.join()
    assert said[1:] == ["the storage takes events again, the sweep goes on"]
    assert read_state(storage) == log.state
    assert log.state.seq == 8
    log.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 kB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "omsweep-test", str(disk)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("a file system cannot be mounted here")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


def test_a_disk_that_is_really_full(small_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_module, "PAUSE_SECONDS", 0.01)
    said: list[str] = []
    log = SweepLog.open(FolderStorage(small_disk / "demo"), say=said.append)
    ballast = small_disk / "ballast"
    with pytest.raises(OSError, match="No space"):
        ballast.write_bytes(b"x" * 65536)
    thread = threading.Thread(target=lambda: [log.append("driver", text="y" * 1000) for _ in range(8)])
    thread.start()
    while not said:
        time.sleep(0.01)
    assert thread.is_alive()
    assert said == ["No space left on device: the sweep waits until its storage takes events again"]
    ballast.unlink()
    thread.join()
    assert read_state(log.storage) == log.state
    assert log.state.seq == 8
    log.close()


def test_another_error_is_told_and_the_event_did_not_happen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = SweepLog.open(FolderStorage(tmp_path))
    with monkeypatch.context() as patched:
        patched.setattr(storage_module.os, "fsync", lambda handle: (_ for _ in ()).throw(OSError(errno.EIO, "broken")))
        with pytest.raises(OSError, match="broken"):
            log.append("driver")
    assert log.state.seq == 0
    assert log.append("driver").seq == 1
    assert read_state(log.storage).seq == 1
    log.close()


def test_a_look_at_the_lease_that_fails_takes_no_number_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = SweepLog.open(FolderStorage(tmp_path))
    check, looks = log._lease.check, iter([True, False])

    def fails_second() -> None:
        if not next(looks):
            raise OSError(errno.EMFILE, "too many open files")
        check()

    with monkeypatch.context() as patched:
        patched.setattr(log._lease, "check", fails_second)
        with pytest.raises(OSError, match="too many"):
            log.append("driver", number=1)
    log.append("driver", number=2)
    assert [event.data["number"] for event in LogReader(log.storage).new()] == [1, 2]
    assert read_state(log.storage) == log.state
    log.close()


def test_who_is_followed_while_it_writes_is_told(again: Again, monkeypatch: pytest.MonkeyPatch) -> None:
    """Frozen between its look at the lease and its write: the write counts nowhere, and it hears of it."""
    monkeypatch.setattr(lease_module, "SILENT_SECONDS", 0.01)
    storage = again()
    log = SweepLog.open(storage)
    log.append("driver", number=1)
    append = storage.append
    taken: list[SweepLog] = []

    def frozen(lines: bytes, *, sync: bool) -> None:
        taken.append(SweepLog.open(again()))
        append(lines, sync=sync)

    monkeypatch.setattr(storage, "append", frozen)
    with pytest.raises(LeaseLost):
        log.append("driver", number=2)
    taken[0].append("driver", number=3)
    assert [event.data["number"] for event in LogReader(again()).new()] == [1, 3]
    taken[0].close()
    log.close()


# Damage


def folder_with(path: Path, text: bytes) -> FolderStorage:
    (path / EVENTS).write_bytes(text)
    return FolderStorage(path)


@pytest.mark.parametrize("cut", [1, 30, len(LINES[7]) - 1])
def test_a_torn_end_is_cut_off(tmp_path: Path, cut: int) -> None:
    storage = folder_with(tmp_path, b"".join(LINES[:7]) + LINES[7][:cut])
    assert read_state(storage).seq == 7
    said: list[str] = []
    log = SweepLog.open(storage, say=said.append)
    assert said == [f"the last driver ended while it wrote an event: {cut} bytes were cut off the log"]
    assert (tmp_path / EVENTS).read_bytes() == b"".join(LINES[:7])
    write(log, HAPPENED[7:])
    log.close()
    assert read_state(storage).seq == len(LINES)


def test_a_damaged_log_is_refused_and_repaired_when_asked(tmp_path: Path) -> None:
    """The damaged line is a proposal, so that events of an unknown trial follow."""
    damaged = b"".join([*LINES[:4], LINES[4].replace(b"ondare", b"onties"), *LINES[5:]])
    storage = folder_with(tmp_path, damaged)
    told = "the log is damaged: line 5: no event, or not as it was written and 1 more; `omsweep run ... --repair`"
    for refuses in (SweepLog.open, read_state, SweepLog.open):
        with pytest.raises(DamagedLog, match=re.escape(told)):
            refuses(storage)
        assert (tmp_path / EVENTS).read_bytes() == damaged
    said: list[str] = []
    log = SweepLog.open(storage, say=said.append, repair=True)
    assert said[0].startswith("repaired the log, a copy of the damaged one is beside it: line 5: no event")
    assert sorted(log.state.trials) == ["a", "c"]
    assert dict(log.state.counts) == {"completed": 2}
    assert log.append("driver").seq == len(LINES)
    log.close()
    assert read_state(storage) == log.state
    (copy,) = tmp_path.glob("events.damaged-*.jsonl")
    assert copy.read_bytes() == damaged


def test_a_newer_log_is_refused_and_stays_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr("omsweep.store.events.VERSION", VERSION + 1)
        newer = encode(Event(len(LINES) + 1, 1, 0.0, "driver"))
    storage = folder_with(tmp_path, V1 + newer)
    for repair in (False, True):
        with pytest.raises(NewerLog, match="upgrade it"):
            SweepLog.open(storage, repair=repair)
    assert (tmp_path / EVENTS).read_bytes() == V1 + newer


# Readers


def test_a_reader_waits_for_the_rest_of_a_line(tmp_path: Path) -> None:
    storage = folder_with(tmp_path, b"")
    reader = LogReader(storage)
    read: list[Event] = []
    for length in range(0, len(V1) + 1, 23):
        (tmp_path / EVENTS).write_bytes(V1[:length])
        read += reader.new()
    (tmp_path / EVENTS).write_bytes(V1)
    assert [*read, *reader.new()] == list(scan(V1).events)
    assert reader.new() == []


def test_a_reader_starts_after_what_it_knows(tmp_path: Path) -> None:
    storage = folder_with(tmp_path, V1)
    assert [event.seq for event in LogReader(storage, after=20).new()] == list(range(21, 26))
    assert list(LogReader(storage, after=99).new()) == []


@pytest.mark.parametrize("torn", [0, 20])
def test_a_reader_follows_a_log_that_was_cut_and_goes_on(tmp_path: Path, torn: int) -> None:
    storage = folder_with(tmp_path, b"".join(LINES[:5]) + LINES[5][:torn])
    reader = LogReader(storage)
    assert len(reader.new()) == 5
    log = SweepLog.open(storage)
    write(log, HAPPENED[5:])
    assert [event.seq for event in reader.new()] == list(range(6, 26))
    log.close()


def test_a_reader_of_a_log_that_was_replaced_reads_it_anew(again: Again) -> None:
    storage: Storage = again()
    storage.rewrite(b"".join(LINES[:20]))
    reader = LogReader(again())
    assert len(reader.new()) == 20
    storage.rewrite(b"".join(LINES[:3]))
    for line in LINES[3:]:
        storage.append(line, sync=True)
    assert [event.seq for event in reader.new()] == list(range(21, 26))
