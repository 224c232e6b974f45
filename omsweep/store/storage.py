"""Where a sweep's log and small files lie, behind a protocol that folders and object stores can both keep.

What a write promises is the same everywhere: it is on the disk when the call returns, a reader sees all of it or
nothing, and of two that create the same name one succeeds.
"""

import contextlib
import errno
import os
import uuid
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Protocol

EVENTS = "events.jsonl"
CLOSED_FOLDER, FILE = 0o770, 0o666
"""Modes of what is made, less the umask. A sweep holds settings, answers and tracebacks: its folder keeps whoever is
neither owner nor group out of all of it, whichever library writes there. A folder that is there is left as it is."""
FULL = (errno.ENOSPC, errno.EDQUOT)
"""Numbers of the errors that say that there is no room."""


class StorageFull(OSError):
    """No room for a write; nothing of it was kept."""


class StorageAway(OSError):
    """No answer from the storage, however often it was asked; whether a write was done is not known."""


class Storage(Protocol):
    """One sweep's storage; names are relative, with `/` between folders.

    A position in the log is opaque: 0 is its beginning, others come from `events_from`. The log has one writer, who
    has called `open_log` or `rewrite`.
    """

    def read(self, name: str) -> bytes | None:
        """The content of a file, None where there is none."""

    def write(self, name: str, content: bytes) -> None:
        """Replace a file."""

    def create(self, name: str, content: bytes) -> bool:
        """Make a file, or return False where there is one."""

    def names(self, folder: str) -> list[str]:
        """Names of a folder's files, sorted; none where there is no such folder."""

    def remove(self, name: str) -> None:
        """Remove a file, or do nothing where there is none."""

    def open_log(self) -> bytes:
        """The whole log, for who writes it from now on; it may end in a part of a line."""

    def append(self, lines: bytes, *, sync: bool) -> None:
        """Add lines to the log that was opened; without `sync` a power cut may take them.

        Raises:
            StorageFull, StorageAway: it may be tried again with the same lines; they are added once.
        """

    def events_from(self, position: int) -> tuple[bytes, int]:
        """The log after a position, and the position after that.

        What is returned may begin with lines from before the position and may end in a part of a line.
        """

    def rewrite(self, lines: bytes) -> None:
        """Replace the log in one step, and open it; a writer that had it open before writes nowhere."""

    def close(self) -> None:
        """Let go of the log."""


def try_out(storage: Storage) -> None:
    """Make, replace, read and remove a small file, as a lease and a log are written.

    Raises:
        ValueError: what the storage could not do, and why.
    """
    name, doing = f"tried-{uuid.uuid4().hex}", "make a file (by a hard link)"
    try:
        made = storage.create(name, b"1")
        doing = "replace a file (by a rename)"
        storage.write(name, b"2")
        doing = "read a file"
        keeps = made and not storage.create(name, b"3") and storage.read(name) == b"2"
        doing = "remove a file"
        storage.remove(name)
    except OSError as error:
        with contextlib.suppress(OSError):
            storage.remove(name)
        raise ValueError(f"it cannot {doing}: {error.strerror or error}") from None
    if not keeps:
        raise ValueError("it does not keep a file as it was written")


class FolderStorage:
    """Storage in a local folder, or one that is mounted: local disk, NFS, EFS."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._log: int | None = None
        self._end: int | None = None  # of what was appended for good, in bytes, while the log is open

    def read(self, name: str) -> bytes | None:
        """The content of a file, None where there is none."""
        try:
            return (self.path / name).read_bytes()
        except FileNotFoundError:
            return None

    def write(self, name: str, content: bytes) -> None:
        """Replace a file."""
        with self._written(name, content) as file:
            file.replace(self.path / name)
        sync_folder((self.path / name).parent)

    def create(self, name: str, content: bytes) -> bool:
        """Make a file, or return False where there is one."""
        with self._written(name, content) as file:
            try:
                os.link(file, self.path / name)  # unlike a rename it fails where the name is taken, on NFS too
            except FileExistsError:
                if os.stat(file).st_nlink == 1:  # else it was made and NFS lost the answer
                    return False
        sync_folder((self.path / name).parent)
        return True

    def names(self, folder: str) -> list[str]:
        """Names of a folder's files, sorted; none where there is no such folder."""
        try:
            files = [one.name for one in os.scandir(self.path / folder) if one.is_file()]
        except FileNotFoundError:
            return []
        return sorted(name for name in files if not name.startswith("."))

    def remove(self, name: str) -> None:
        """Remove a file, or do nothing where there is none."""
        (self.path / name).unlink(missing_ok=True)

    def open_log(self) -> bytes:
        """The whole log, for who writes it from now on; it may end in a part of a line."""
        self.close()
        text = b""
        with contextlib.suppress(FileNotFoundError):  # `append` makes it: a log without an event is no sweep
            self._log = os.open(self.path / EVENTS, os.O_RDWR | os.O_APPEND)
            text = b"".join(iter(partial(os.read, self._log, 1 << 24), b""))
        self._end = len(text)
        return text

    def append(self, lines: bytes, *, sync: bool) -> None:
        """Add lines to the log that was opened; without `sync` a power cut may take them.

        Errors as `Storage`, and FileExistsError where there was no log and another driver has made one.
        """
        assert self._end is not None, "open_log or rewrite comes first"
        try:
            if self._log is None:
                make_folder(self.path)
                self._log = os.open(self.path / EVENTS, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL, FILE)
                sync_folder(self.path)
            self._cut()
            write_all(self._log, lines)
            if sync:
                os.fsync(self._log)
        except OSError as error:
            with contextlib.suppress(OSError):  # else the next append does
                self._cut()
            raise _told(error) from error
        self._end += len(lines)

    def events_from(self, position: int) -> tuple[bytes, int]:
        """The log after a position, and the position after that; what is returned may end in a part of a line."""
        try:
            with open(self.path / EVENTS, "rb") as file:
                file.seek(position)
                text = file.read()
        except FileNotFoundError:
            text = b""
        return text, position + len(text)

    def rewrite(self, lines: bytes) -> None:
        """Replace the log in one step, and open it; a writer that had it open before writes nowhere."""
        self.close()
        with self._written(EVENTS, lines) as file:
            log = os.open(file, os.O_RDWR | os.O_APPEND)  # before it is moved: under that name another may lie soon
            try:
                file.replace(self.path / EVENTS)
            except OSError:
                os.close(log)
                raise
            self._log, self._end = log, len(lines)
        sync_folder(self.path)

    def close(self) -> None:
        """Let go of the log."""
        if self._log is not None:
            os.close(self._log)
        self._log = self._end = None

    def _cut(self) -> None:
        """Take away what an append that failed has left."""
        if self._log is not None and self._end is not None and os.fstat(self._log).st_size != self._end:
            os.ftruncate(self._log, self._end)

    @contextlib.contextmanager
    def _written(self, name: str, content: bytes) -> Iterator[Path]:
        """A file beside `name` that holds the content, on the disk; it is gone afterwards unless it was moved."""
        target = self.path / name
        make_folder(target.parent)
        file = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, FILE)
        try:
            try:
                write_all(handle, content)
                os.fsync(handle)
            except OSError as error:
                raise _told(error) from error
            finally:
                os.close(handle)
            yield file
        finally:
            file.unlink(missing_ok=True)


def write_all(handle: int, content: bytes) -> None:
    """Write to a file however many calls it takes."""
    while content:
        content = content[os.write(handle, content) :]


def make_folder(folder: Path) -> None:
    """Make a folder and those it lies in, on the disk, closed to others than owner and group."""
    if not folder.is_dir():
        make_folder(folder.parent)
        folder.mkdir(CLOSED_FOLDER, exist_ok=True)
        sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Put a folder's names on the disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:  # some network file systems cannot, and need not
        if error.errno not in (errno.EINVAL, errno.EBADF):
            raise
    finally:
        os.close(handle)


def _told(error: OSError) -> OSError:
    return StorageFull(error.errno, error.strerror) if error.errno in FULL else error
