"""All entries of a cache: which there are, how large they are, and how it is kept within its limit."""

import logging
import math
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from filelock import Timeout

from omsweep.cache.lock import holder_of, locked
from omsweep.cache.use import unused

LIMIT = "OMSWEEP_CACHE_GB"
"""Environment variable with the size in GB (10^9 bytes) that a build leaves the cache at; unset: any."""
GB = 10**9
HASH_DIGITS = 16
ENTRY = re.compile(rf"[0-9a-f]{{{HASH_DIGITS}}}(\.partial)?")

logger = logging.getLogger(__name__)


def lock_file(target: Path) -> Path:
    """The lock under which an entry is built, repaired and removed. It stays: another process may wait on it."""
    return target.with_name(target.name + ".lock")


def set_aside(target: Path) -> Path:
    """Turn an entry into the leftover of a build, which nobody reads and the next build replaces; under its lock."""
    partial = target.with_name(target.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    return target.rename(partial)


def entries(root: Path) -> Iterator[Path]:
    """The folders of the cache's entries and of unfinished builds (`.partial`), sorted by kind and hash."""
    for path in sorted(root.glob("*/*")):
        if ENTRY.fullmatch(path.name) and path.is_dir():
            yield path


def target_of(path: Path) -> Path:
    """The entry that an unfinished build was to be; an entry itself."""
    return path.with_name(path.name.removesuffix(".partial"))


def name_of(path: Path) -> str:
    """Kind and hash."""
    return f"{path.parent.name}/{path.name}"


def size_of(path: Path) -> int:
    """Bytes of its files; what vanishes meanwhile counts nothing."""
    size = 0
    for file in path.rglob("*"):
        with suppress(FileNotFoundError):
            size += file.stat().st_size if file.is_file() else 0
    return size


def last_used(path: Path) -> float:
    """Unix time of an entry's last use; 0 of one that is gone."""
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def remove(path: Path, *, dry_run: bool = False) -> str | None:
    """Remove an entry or an unfinished build, unless a living process builds or uses it: then by whom it is held."""
    target = target_of(path)
    try:
        with locked(lock_file(target), f"removes {name_of(path)}", wait=False), unused(target) as free:
            if not free:
                return "a process that uses it"
            if path.is_dir() and not dry_run:
                shutil.rmtree(path if path != target else set_aside(path))
    except Timeout:
        return holder_of(lock_file(target))
    return None


def limit_bytes() -> int | None:
    """What `$OMSWEEP_CACHE_GB` says, None where it is not set; ValueError for what is no size."""
    given = os.environ.get(LIMIT)
    if not given:
        return None
    try:
        size = float(given)
    except ValueError:
        size = math.nan
    if not 0 < size < math.inf:
        raise ValueError(f"${LIMIT} must be a number of GB above 0, got {given!r}")
    return round(size * GB)


def keep_within(root: Path, limit: int) -> None:
    """Remove what was not used for the longest time until the cache has at most `limit` bytes; say so in one line."""
    found = {path: size_of(path) for path in entries(root)}
    total = before = sum(found.values())
    removed = 0
    for path in sorted(found, key=lambda one: (one == target_of(one), last_used(one))):
        if total <= limit:
            break
        if remove(path) is None:
            total -= found[path]
            removed += 1
    if before > limit:
        stay = f"; the {_gb(total)} that stay are in use" if total > limit else ""
        logger.warning(
            "the cache %s was larger than $%s, %s: removed %s, %s, not used for the longest time%s",
            *(root, LIMIT, _gb(limit), counted(removed), _gb(before - total), stay),
        )


def counted(count: int) -> str:
    """So many entries, in words."""
    return "1 entry" if count == 1 else f"{count} entries"


def _gb(size: int) -> str:
    return f"{size / GB:.3g} GB"
