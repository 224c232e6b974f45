"""Who waits for a lock says for whom; the dead hold none."""

import errno
import fcntl
import json
import os
import signal
import socket
import threading
from pathlib import Path

import pytest
from filelock import Timeout

from omsweep.cache import build_once, lock
from omsweep.cache.content import lock_file
from omsweep.cache.lock import holder_of, locked
from tests.cache.conftest import KIND, RECIPE, StartBuilder, wait_until


def test_a_stopped_builder_is_waited_for_and_named(
    tmp_path: Path,
    entry: Path,
    start_builder: StartBuilder,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lock, "SILENT_SECONDS", 0.1)
    builder = start_builder(seconds=0.2)
    wait_until((entry.with_name(f"{entry.name}.partial") / "half").exists)
    os.kill(builder.pid, signal.SIGSTOP)
    waiting = threading.Thread(target=build_once, args=(KIND, RECIPE, lambda _: None), kwargs={"root": tmp_path})
    waiting.start()
    wait_until(lambda: bool(caplog.records))
    said = caplog.records[0].getMessage()
    assert (
        f"waiting for process {builder.pid} on {socket.gethostname()}, which builds {KIND}/{entry.name} since" in said
    )
    assert f"it is stopped: `kill -CONT {builder.pid}` lets it go on" in said
    assert waiting.is_alive()
    os.kill(builder.pid, signal.SIGCONT)
    waiting.join(timeout=10)
    assert (entry / "data").read_text() == "content"


def test_nobody_is_named_who_let_go(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    with locked(path, "builds a"):
        assert holder_of(path).startswith(f"process {os.getpid()} on {socket.gethostname()}, which builds a since 20")
        with pytest.raises(Timeout), locked(path, "removes a", wait=False):
            pytest.fail("two hold one lock")
    assert holder_of(path) == f"the process that holds {path}"


@pytest.mark.parametrize(
    ("pid", "host", "said"), [(2**22 + 1, socket.gethostname(), "it is gone"), (1, "far", "since")]
)
def test_a_holder_that_is_gone_or_elsewhere(tmp_path: Path, pid: int, host: str, said: str) -> None:
    holder = {"pid": pid, "host": host, "does": "builds a", "since": "2026-01-01T00:00:00+00:00"}
    (tmp_path / "a.holder").write_text(json.dumps(holder))
    assert said in holder_of(tmp_path / "a.lock")


def test_storage_that_refuses_locks_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(
        ValueError, match=r"cannot be locked \(No locks available\): the cache \(\$OMSWEEP_CACHE\) must"
    ):
        build_once(KIND, RECIPE, lambda _: None, root=tmp_path)


@pytest.mark.filterwarnings("ignore:flock not supported")
def test_a_dead_builder_holds_nothing_where_there_is_no_flock(
    tmp_path: Path, entry: Path, start_builder: StartBuilder
) -> None:
    builder = start_builder(seconds=60, flock=False)
    wait_until((entry.with_name(f"{entry.name}.partial") / "half").exists)
    builder.kill()
    builder.wait()
    assert lock_file(entry).read_text().startswith(f"{builder.pid}\n")
    assert start_builder(seconds=0, flock=False).wait(timeout=30) == 0
    assert (entry / "data").read_text() == "content"
