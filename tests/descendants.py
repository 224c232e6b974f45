"""Every process that a test starts, and what those start in their turn, so that none outlives it."""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

PR_SET_CHILD_SUBREAPER = 36


class Descendants:
    """Processes below this one that were not there when it was made; one that lost its parent becomes our child."""

    def __init__(self) -> None:
        _adopt(True)
        self._others = set(_children().get(os.getpid(), ()))

    def start(self, command: list[str], output: Path, **environment: str) -> "subprocess.Popen[bytes]":
        """Start a command whose output goes to a file."""
        with output.open("ab") as file:
            return subprocess.Popen(
                command,
                stdout=file,
                stderr=subprocess.STDOUT,
                env=os.environ | {"PYTHONUNBUFFERED": "1", **environment},
                start_new_session=True,
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # background shells ignore it
            )

    def below(self, pid: int | None = None) -> dict[int, str]:
        """Title of every process below `pid` by number, by default of all that are ours."""
        children = _children()
        waiting = [pid] if pid is not None else [one for one in children.get(os.getpid(), ()) if self._is_ours(one)]
        found = {} if pid is not None else {one: _title(one) for one in waiting}
        while waiting:
            for child in children.get(waiting.pop(), ()):
                found[child] = _title(child)
                waiting.append(child)
        return found

    def end(self) -> None:
        """Kill all, and those they started meanwhile."""
        while left := self.below():
            for pid in left:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            for pid in left:
                with suppress(ChildProcessError):
                    os.waitpid(pid, os.WNOHANG)
            time.sleep(0.05)
        _adopt(False)

    def _is_ours(self, pid: int) -> bool:
        return pid not in self._others


@contextmanager
def descendants() -> Iterator[Descendants]:
    """Processes that are killed at the end."""
    ours = Descendants()
    try:
        yield ours
    finally:
        ours.end()


def wait_for(what: str, found: Callable[[], Any], seconds: float, output: Path | None = None) -> Any:
    """What `found` returns as soon as that is true; it fails with the output's end where that takes too long."""
    deadline = time.monotonic() + seconds
    while not (result := found()):
        if time.monotonic() > deadline:
            said = "" if output is None else f": {output.read_text()[-4000:]}"
            raise AssertionError(f"{what} took more than {seconds:g} s{said}")
        time.sleep(0.1)
    return result


def say(text: str) -> None:
    """Show a line with the time, at once."""
    sys.stderr.write(f"{time.strftime('%H:%M:%S')} {text}\n")


def _adopt(orphans: bool) -> None:
    """Have processes that lose their parent become children of this one, or no longer."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, int(orphans), 0, 0, 0)


def _children() -> dict[int, list[int]]:
    """Numbers of the processes that each process started, zombies too."""
    found: dict[int, list[int]] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with suppress(OSError):
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
                found.setdefault(int(fields[1]), []).append(int(folder.name))
    return found


def _title(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""
