"""The contract that every storage of a sweep keeps, and what folders promise beyond it."""

import contextlib
import errno
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from omsweep.store import storage as storage_module
from omsweep.store.lease import LeaseLost
from omsweep.store.storage import EVENTS, FolderStorage, Storage, StorageFull, try_out
from omsweep.strict_json import write_json
from tests.store.conftest import Again


def log_of(storage: Storage) -> bytes:
    return storage.events_from(0)[0]


def test_what_is_written_is_read(storage: Storage, again: Again) -> None:
    assert storage.read("lease/1.json") is None
    storage.write("lease/1.json", b"one")
    storage.write("lease/1.json", b"two\x00\xff")
    storage.write("empty", b"")
    assert again().read("lease/1.json") == b"two\x00\xff"
    assert again().read("empty") == b""


def test_it_is_tried_without_leaving_anything(storage: Storage) -> None:
    try_out(storage)
    assert storage.names("") == []


@pytest.mark.parametrize(
    ("call", "error", "said"),
    [
        ("link", PermissionError(errno.EPERM, "Operation not permitted"), "make a file .* Operation not permitted"),
        ("write", OSError(errno.ENOSPC, "No space left on device"), "make a file .* No space left on device"),
        ("fsync", OSError(errno.EIO, "Input/output error"), "make a file .* Input/output error"),
    ],
)
def test_what_a_folder_cannot_do_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, error: OSError, said: str
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(storage_module.os, call, refuse)
    with pytest.raises(ValueError, match=said):
        try_out(FolderStorage(tmp_path))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("umask", "folder", "file"), [(0o022, 0o750, 0o644), (0o002, 0o770, 0o664), (0o077, 0o700, 0o600)]
)
def test_what_is_made_is_closed_to_others_and_as_open_as_the_umask_says(
    tmp_path: Path, umask: int, folder: int, file: int
) -> None:
    """Formerly every file was 0644 and every folder as open as the umask left it, for the world."""
    mounted = tmp_path / "mounted"
    mounted.mkdir(0o755)
    before = os.umask(umask)
    try:
        storage = FolderStorage(mounted / "runs" / "demo")
        storage.create("lease/1.json", b"{}")
        storage.open_log()
        storage.append(b"{}\n", sync=True)
        storage.write("tracebacks/driver-1.txt", b"")
        write_json(storage.path / "sweep.json", {})
        storage.close()
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o777 for path in mounted.rglob("*")}
    assert {modes.pop(name) for name in ("runs", "demo", "lease", "tracebacks")} == {folder}
    assert modes == dict.fromkeys(("1.json", EVENTS, "driver-1.txt", "sweep.json"), file)
    assert mounted.stat().st_mode & 0o777 == 0o755, "a folder that was there stays as it was"


def test_a_name_is_created_once(storage: Storage, again: Again) -> None:
    assert storage.create("lease/1.json", b"first")
    assert not again().create("lease/1.json", b"second")
    assert storage.read("lease/1.json") == b"first"


def test_of_many_that_create_a_name_one_succeeds(again: Again) -> None:
    many, made, start = 16, [], threading.Barrier(16)

    def create(number: int) -> None:
        mine = again()
        for name in range(5):
            start.wait()
            if mine.create(f"lease/{name}", b"%d" % number):
                made.append((name, number))

    threads = [threading.Thread(target=create, args=(number,)) for number in range(many)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(name for name, _ in made) == list(range(5))
    assert all(again().read(f"lease/{name}") == b"%d" % number for name, number in made)


def test_names_are_those_of_files(storage: Storage) -> None:
    assert storage.names("lease") == []
    for name in ("lease/b", "lease/a", "lease/below/c", "other"):
        storage.write(name, b"")
    assert storage.names("lease") == ["a", "b"]
    storage.remove("lease/a")
    storage.remove("lease/a")
    assert storage.names("lease") == ["b"]


def test_the_log_grows_line_by_line(storage: Storage, again: Again) -> None:
    assert again().events_from(0) == (b"", 0)
    assert storage.open_log() == b""
    reader, position, seen = again(), 0, b""
    for number in range(10):
        storage.append(b"%d\n" % number, sync=True)
        text, position = reader.events_from(position)
        seen += text
    assert seen == log_of(again()) == b"".join(b"%d\n" % number for number in range(10))
    assert reader.events_from(position) == (b"", position)


def test_what_is_not_synced_comes_in_order(storage: Storage, again: Again) -> None:
    storage.open_log()
    storage.append(b"1\n", sync=False)
    storage.append(b"2\n", sync=False)
    storage.append(b"3\n", sync=True)
    assert log_of(again()) == b"1\n2\n3\n"
    storage.append(b"4\n", sync=False)
    storage.close()
    assert log_of(again()) == b"1\n2\n3\n4\n"


def test_the_next_writer_goes_on(storage: Storage, again: Again) -> None:
    storage.open_log()
    storage.append(b"1\n", sync=True)
    storage.close()
    following = again()
    assert following.open_log() == b"1\n"
    following.append(b"2\n", sync=True)
    assert log_of(storage) == b"1\n2\n"


@pytest.mark.parametrize("content", [b"", b"1\nchanged\n"])
def test_the_log_is_replaced_and_the_former_writer_writes_nowhere(
    storage: Storage, again: Again, content: bytes
) -> None:
    storage.open_log()
    for number in range(3):
        storage.append(b"%d\n" % number, sync=True)
    _, position = again().events_from(0)
    following = again()
    following.open_log()
    following.rewrite(content)
    for line in (b"stale\n", b"staler\n"):
        with contextlib.suppress(LeaseLost):
            storage.append(line, sync=True)
    following.append(b"new\n", sync=True)
    assert log_of(again()) == content + b"new\n"
    following.rewrite(content + b"new\n")
    following.append(b"newer\n", sync=True)
    assert log_of(again()) == content + b"new\nnewer\n"
    assert again().events_from(position)[0].endswith(b"er\n")


def test_a_log_can_be_replaced_before_there_is_one(storage: Storage, again: Again) -> None:
    storage.rewrite(b"1\n")
    storage.append(b"2\n", sync=True)
    assert log_of(again()) == b"1\n2\n"


class Failing:
    """`os.write` and `os.fsync` that fail as a full disk does, from the n-th call on or once."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, number: int = errno.ENOSPC, part: int = 0) -> None:
        self.write, self.fsync, self.truncate = os.write, os.fsync, os.ftruncate
        self.part, self.number = part, number
        self.fails: set[str] = set()
        for name in ("write", "fsync", "ftruncate"):
            monkeypatch.setattr(storage_module.os, name, getattr(self, f"_{name}"))

    def _error(self) -> OSError:
        return OSError(self.number, os.strerror(self.number))

    def _write(self, handle: int, content: bytes) -> int:
        if "write" not in self.fails:
            return self.write(handle, content)
        if self.part and len(content) > self.part:
            return self.write(handle, content[: self.part])
        raise self._error()

    def _fsync(self, handle: int) -> None:
        if "fsync" in self.fails:
            raise self._error()
        self.fsync(handle)

    def _ftruncate(self, handle: int, size: int) -> None:
        if "ftruncate" in self.fails:
            raise self._error()
        self.truncate(handle, size)


@pytest.mark.parametrize("fails", [("write",), ("fsync",), ("write", "ftruncate"), ("fsync", "ftruncate")], ids=str)
def test_an_append_that_failed_leaves_nothing_once_another_succeeds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: Any
) -> None:
    storage = FolderStorage(tmp_path)
    storage.open_log()
    storage.append(b"one\n", sync=True)
    failing = Failing(monkeypatch, part=5)
    failing.fails = set(fails)
    for _ in range(2):
        with pytest.raises(StorageFull):
            storage.append(b"long enough\n", sync=True)
    failing.fails = set()
    storage.append(b"two\n", sync=True)
    assert (tmp_path / EVENTS).read_bytes() == b"one\ntwo\n"


def test_a_full_disk_has_a_name_and_other_errors_keep_theirs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = FolderStorage(tmp_path)
    for number, kind in ((errno.ENOSPC, StorageFull), (errno.EDQUOT, StorageFull), (errno.EIO, OSError)):
        with monkeypatch.context() as patched:
            Failing(patched, number=number).fails = {"write"}
            for write in (storage.write, storage.create):
                with pytest.raises(kind) as caught:
                    write("file", b"x")
                assert isinstance(caught.value, StorageFull) == (kind is StorageFull)
                assert caught.value.errno == number
    assert os.listdir(tmp_path) == []


def test_a_write_that_fails_keeps_the_former_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = FolderStorage(tmp_path)
    storage.write("file", b"old")
    storage.rewrite(b"log\n")
    with monkeypatch.context() as patched:
        Failing(patched, part=1).fails = {"write"}
        with pytest.raises(StorageFull):
            storage.write("file", b"new")
        with pytest.raises(StorageFull):
            storage.rewrite(b"changed\n")
    assert storage.read("file") == b"old"
    assert log_of(storage) == b"log\n"


def test_a_log_that_another_driver_has_made_meanwhile_is_not_written(tmp_path: Path) -> None:
    first, second = FolderStorage(tmp_path), FolderStorage(tmp_path)
    assert first.open_log() == second.open_log() == b""
    assert os.listdir(tmp_path) == []
    second.append(b"theirs\n", sync=True)
    with pytest.raises(FileExistsError):
        first.append(b"ours\n", sync=True)
    assert log_of(first) == b"theirs\n"


def test_a_created_file_whose_answer_was_lost_is_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    link = os.link

    def answers_late(source: Any, target: Any) -> None:
        link(source, target)
        raise FileExistsError(errno.EEXIST, "the call was repeated")

    monkeypatch.setattr(storage_module.os, "link", answers_late)
    assert FolderStorage(tmp_path).create("lease/1", b"mine")


def test_folders_are_on_the_disk_before_what_lies_in_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced = []
    monkeypatch.setattr(storage_module, "sync_folder", lambda path: synced.append(path.relative_to(tmp_path)))
    FolderStorage(tmp_path / "runs" / "demo").create("lease/1", b"")
    assert synced == [Path("."), Path("runs"), Path("runs/demo"), Path("runs/demo/lease")]
