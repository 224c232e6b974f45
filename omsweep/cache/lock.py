"""The lock of a cache entry, and who holds it.

The kernel gives the lock of a process that died to the next one (`flock`). A process that lives and does not go on
keeps it, so whoever waits says for whom.
"""

import json
import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

SILENT_SECONDS = 10.0
"""Until whoever waits says so for the first time."""
AGAIN_SECONDS = 60.0

logger = logging.getLogger(__name__)


@contextmanager
def locked(path: Path, what: str, *, wait: bool = True) -> Iterator[None]:
    """Hold a lock file's lock inside, and say in a file beside it who does.

    Where the storage has no `flock` at all, filelock locks by a file that exists only while it is held, and takes over
    that of a dead process of the same machine.

    Args:
        path: the lock file, in a folder that exists; it stays.
        what: what the holder does, as others read who wait: "builds families/...".
        wait: while another holds it, with a line in the log after `SILENT_SECONDS` and every `AGAIN_SECONDS`.

    Raises:
        Timeout: another holds it and `wait` is False.
        ValueError: the file cannot be written, or the storage refuses locks.
    """
    lock, beside = FileLock(path), path.with_suffix(".holder")
    _acquire(lock, path, wait=wait)
    try:
        holder = {"pid": os.getpid(), "host": socket.gethostname(), "does": what, "since": _now()}
        with suppress(OSError):  # a full disk: it only tells others
            beside.write_text(json.dumps(holder))
        yield
    finally:
        with suppress(OSError):
            beside.unlink(missing_ok=True)
        lock.release()


def holder_of(path: Path) -> str:
    """In words, the process that holds a lock file's lock: its id, machine, what it does, whether it is stopped."""
    try:
        holder = json.loads(path.with_suffix(".holder").read_text())
        pid, host = int(holder["pid"]), holder["host"]
        said = f"process {pid} on {host}, which {holder['does']} since {holder['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        return f"the process that holds {path}"
    if host != socket.gethostname():
        return said
    return said + {
        "T": f"; it is stopped: `kill -CONT {pid}` lets it go on, `kill -KILL {pid}` gives its lock free",
        "": "; it is gone, a process that it started may still hold the lock",
    }.get(_state(pid), "")


def _acquire(lock: FileLock, path: Path, *, wait: bool) -> None:
    silent = SILENT_SECONDS if wait else 0
    while True:
        try:
            lock.acquire(timeout=silent)
            return
        except Timeout:
            if not wait:
                raise
            logger.warning("waiting for %s", holder_of(path))
            silent = AGAIN_SECONDS
        except OSError as refusal:
            raise ValueError(
                f"{path} cannot be locked ({refusal.strerror}): the cache ($OMSWEEP_CACHE) must lie where this process "
                "may write, on storage that has flock"
            ) from refusal


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _state(pid: int) -> str:
    """Linux's letter for a process of this machine (`T` stopped, `S` sleeping, ...), empty when there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][:1]
    except OSError:
        return "" if Path("/proc/self").exists() else "?"
