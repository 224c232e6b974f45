"""Which entries living processes use, so that nobody removes those: each holds a shared lock until it ends.

The kernel gives the locks of a process that died free. Where the storage cannot be written, nothing is held, and
nothing removed either.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path

_held: dict[Path, int] = {}
"""Open files by entry, for as long as this process lives."""
_given: ContextVar[dict[Path, bool] | None] = ContextVar("given", default=None)


def use_file(target: Path) -> Path:
    """The file whose lock those share that use an entry. It stays, as `omsweep.cache.lock_file` does."""
    return target.with_name(target.name + ".use")


def hold(target: Path) -> None:
    """Keep an entry from being removed for as long as this process lives; it may be one that is still to be built."""
    if target in _held:
        return
    with suppress(OSError):
        handle = os.open(use_file(target), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o660)
        try:
            fcntl.flock(handle, fcntl.LOCK_SH)
        except OSError:
            os.close(handle)
            raise
        _held[target] = handle


@contextmanager
def unused(target: Path) -> Iterator[bool]:
    """Whether no living process uses an entry; inside, none begins to."""
    handle = os.open(use_file(target), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o660)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        free = True
    except OSError:  # another holds it, or the storage has no flock
        free = False
    try:
        yield free
    finally:
        os.close(handle)


@contextmanager
def noted() -> Iterator[dict[Path, bool]]:
    """Inside, which entries `build_once` gave to this thread, and whether it was this process that built them."""
    found: dict[Path, bool] = {}
    token = _given.set(found)
    try:
        yield found
    finally:
        _given.reset(token)


def note(target: Path, *, built: bool) -> None:
    """Tell `noted`."""
    found = _given.get()
    if found is not None:
        found[target] = built or found.get(target, False)
