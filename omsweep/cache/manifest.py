"""What an entry of the cache holds: size and SHA-256 of every file that its build left, and whether they still do."""

import errno
import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

MANIFEST_FILE = "manifest.json"
VERSION = 1
STAMP_FILE = ".checked"
"""In an entry of more than `SMALL_BYTES`: the identity of every file when its content was last read."""
SMALL_BYTES = 256 * 2**20
"""What every process reads anew: 0.2 s of SHA-256 on one core."""
READ_BY_NAME = {".bin", ".jinja", ".json", ".model", ".py", ".safetensors"}
"""Suffixes of files that a model's folder may have and loading looks for: one that the build did not leave counts."""

Read = Literal["nothing", "changed", "all"]
Identities = dict[str, list[int]]
"""By path in the entry: size in bytes, time of change in nanoseconds, inode."""

_checked: dict[Path, Identities] = {}
"""The entries whose content this process has read, as they were then."""


def has_manifest(folder: Path) -> bool:
    """False for an entry that was built before there were manifests."""
    return (folder / MANIFEST_FILE).is_file()


def write_manifest(folder: Path, files: Iterable[Path]) -> None:
    """Record these files of the folder; they, their folders and the manifest are on the disk when this returns."""
    files = sorted(files)
    described = {
        file.relative_to(folder).as_posix(): {"size": file.stat().st_size, "sha256": sha256_of(file)} for file in files
    }
    partial = folder / f".{MANIFEST_FILE}.partial"
    partial.write_text(json.dumps({"version": VERSION, "files": described}, indent=2) + "\n")
    for path in (*files, *{file.parent for file in files}, partial):
        synced(path)
    partial.replace(folder / MANIFEST_FILE)
    synced(folder)
    _remember(folder, _identities(folder, described))


def damage(folder: Path, *, read: Read = "changed") -> str | None:
    """What is wrong with an entry, naming the file; None where it is as it was built.

    Names and sizes are always checked. Content counts as unchanged where it was read while every file had the size,
    time of change and inode that it has now: by this process, or, of an entry of more than `SMALL_BYTES`, by any, as
    the stamp in the entry tells. Files that were added are no damage, unless loading a model would read them
    (`READ_BY_NAME`).

    Args:
        folder: an entry with a manifest.
        read: whose content is compared.

    Raises:
        OSError: the entry cannot be read by this process, which says nothing about it.
    """
    try:
        return _difference(folder, _read(folder), read)
    except (ValueError, KeyError, TypeError, AttributeError):
        return f"{MANIFEST_FILE} is broken"
    except (FileNotFoundError, NotADirectoryError) as gone:
        return f"{Path(gone.filename).relative_to(folder)} is missing"
    except OSError as error:
        if error.errno != errno.EIO:
            raise
        return f"the disk cannot read it: {error}"


def _difference(folder: Path, files: Mapping[str, tuple[int, str]], read: Read) -> str | None:
    found = _identities(folder, files)
    for name, (size, _) in files.items():
        if found[name][0] != size:
            return f"{name} has {found[name][0]:,} bytes instead of {size:,}"
    added = {path.name for path in folder.iterdir() if path.suffix in READ_BY_NAME} - {*files, MANIFEST_FILE}
    if added:
        return f"{min(added)} was added"
    if read == "nothing" or (read == "changed" and found in (_checked.get(folder), _stamp(folder))):
        return None
    for name, (_, digest) in files.items():
        if sha256_of(folder / name) != digest:
            return f"{name} has other content"
    _remember(folder, found)
    return None


def synced(path: Path) -> None:
    """Have a file's content, or a folder's names, on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _read(folder: Path) -> dict[str, tuple[int, str]]:
    """Size and SHA-256 by path in the entry; later versions only add fields."""
    files = json.loads((folder / MANIFEST_FILE).read_text())["files"]
    return {str(name): (int(file["size"]), str(file["sha256"])) for name, file in files.items()}


def sha256_of(file: Path) -> str:
    """SHA-256 of a file's bytes, hex."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _identities(folder: Path, names: Iterable[str]) -> Identities:
    found = {name: (folder / name).stat() for name in (*names, MANIFEST_FILE)}
    return {name: [file.st_size, file.st_mtime_ns, file.st_ino] for name, file in found.items()}


def _remember(folder: Path, found: Identities) -> None:
    _checked[folder] = found
    if sum(size for size, _, _ in found.values()) > SMALL_BYTES:
        with suppress(OSError):  # a cache that is mounted to be read only
            (folder / STAMP_FILE).write_text(json.dumps(found))


def _stamp(folder: Path) -> Any:
    """What the stamp says; None where there is none, or half of one that is being written."""
    try:
        return json.loads((folder / STAMP_FILE).read_text())
    except (OSError, ValueError):
        return None
