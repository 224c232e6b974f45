"""Where a sweep's log and small files lie, behind a protocol that folders and object stores can both keep.

What a write promises is the same everywhere: it is on the disk when the call returns, a reader sees all of it or
nothing, and of two that create the same name one succeeds.
"""

import contextlib
import errno
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

EVENTS = "events.jsonl"


class StorageFull(OSError):
    """No room for a write; nothing of it was kept."""


class Storage(Protocol):
    """One sweep's storage; names are relative, with `/` between folders.

    A position in the log is opaque: 0 is its beginning, others come from `events_from`.
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

    def append(self, lines: bytes, *, sync: bool) -> None:
        """Add lines to the log; without `sync` a power cut may take them. StorageFull where there is no room."""

    def events_from(self, position: int) -> tuple[bytes, int]:
        """The log after a position, and the position after that; what is returned may end in a part of a line."""

    def rewrite(self, lines: bytes) -> None:
        """Replace the log in one step; a writer that had it open before writes nowhere."""

    def close(self) -> None:
        """Let go of the log."""


class FolderStorage:
    """Storage in a local folder, or one that is mounted: local disk, NFS, EFS."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._log: int | None = None

    def read(self, name: str) -> bytes | None:
        """The content of a file, None where there is none."""
        try:
            return (self.path / name).read_bytes()
        except FileNotFoundError:
            return None

    def write(self, name: str, content: bytes) -> None:
        """Replace a file."""
        with self._written(name, content) as partial:
            partial.replace(self.path / name)
        sync_folder((self.path / name).parent)

    def create(self, name: str, content: bytes) -> bool:
        """Make a file, or return False where there is one."""
        with self._written(name, content) as partial:
            try:
                os.link(partial, self.path / name)  # unlike a rename it fails where the name is taken, on NFS too
            except FileExistsError:
                return False
        sync_folder((self.path / name).parent)
        return True

    def names(self, folder: str) -> list[str]:
        """Names of a folder's files, sorted; none where there is no such folder."""
        try:
            return sorted(one for one in os.listdir(self.path / folder) if not one.startswith("."))
        except FileNotFoundError:
            return []

    def remove(self, name: str) -> None:
        """Remove a file, or do nothing where there is none."""
        (self.path / name).unlink(missing_ok=True)

    def append(self, lines: bytes, *, sync: bool) -> None:
        """Add lines to the log; without `sync` a power cut may take them. StorageFull where there is no room."""
        if self._log is None:
            self._log = os.open(self.path / EVENTS, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
            sync_folder(self.path)
        size = os.fstat(self._log).st_size
        try:
            write_all(self._log, lines)
            if sync:
                os.fsync(self._log)
        except OSError as error:
            with contextlib.suppress(OSError):
                os.ftruncate(self._log, size)
            raise _told(error) from error

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
        """Replace the log in one step; a writer that had it open before writes nowhere."""
        self.close()
        self.write(EVENTS, lines)

    def close(self) -> None:
        """Let go of the log."""
        if self._log is not None:
            os.close(self._log)
            self._log = None

    @contextlib.contextmanager
    def _written(self, name: str, content: bytes) -> Iterator[Path]:
        """A file beside `name` that holds the content, on the disk; it is gone afterwards unless it was moved."""
        target = self.path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, partial = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        try:
            try:
                os.fchmod(handle, 0o644)
                write_all(handle, content)
                os.fsync(handle)
            except OSError as error:
                raise _told(error) from error
            finally:
                os.close(handle)
            yield Path(partial)
        finally:
            Path(partial).unlink(missing_ok=True)


def write_all(handle: int, content: bytes) -> None:
    """Write to a file however many calls it takes."""
    while content:
        content = content[os.write(handle, content) :]


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
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    return StorageFull(error.errno, error.strerror) if full else error
