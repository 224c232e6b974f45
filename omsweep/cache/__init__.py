"""Folders built once per recipe and shared by every process that asks for the same recipe.

A recipe is plain data that fixes the result (seeds, versions, hashes of inputs). Two processes that ask at once wait on
one file lock; a build that dies half-way leaves only a `.partial` folder, which the next build replaces. What a build
leaves is recorded in the entry's manifest and checked at every use: a damaged entry is built again.
"""

import hashlib
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from omsweep.cache.content import HASH_DIGITS, keep_within, last_used, limit_bytes, lock_file, set_aside
from omsweep.cache.lock import locked
from omsweep.cache.manifest import damage, has_manifest, synced, write_manifest
from omsweep.cache.use import hold, note

RECIPE_FILE = "recipe.json"
CLOSED_FOLDER = 0o770
TRIED = ".tried-"
ABANDONED_SECONDS = 600
"""Trying takes milliseconds, and a driver gives up after 30 s: what is older is a dead process's."""

logger = logging.getLogger(__name__)


def cache_root() -> Path:
    """The cache folder: `$OMSWEEP_CACHE` when set, else `~/.cache/omsweep`; absolute, not created."""
    configured = os.environ.get("OMSWEEP_CACHE")
    return (Path(configured) if configured else Path.home() / ".cache" / "omsweep").expanduser().absolute()


def recipe_hash(recipe: Mapping[str, Any]) -> str:
    """Sixteen hex digits of the SHA-256 of the recipe's canonical JSON (sorted keys; only plain data is accepted)."""
    canonical = json.dumps(recipe, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:HASH_DIGITS]


def build_once(
    kind: str, recipe: Mapping[str, Any], build: Callable[[Path], None], *, root: Path | None = None
) -> Path:
    """Return the folder of `recipe`, calling `build(folder)` first if nobody has built it yet or it is damaged.

    The entry is checked as `omsweep.cache.manifest.damage` says. A damaged one is named in a warning and built again,
    by one process where several find it. An entry from before manifests is taken in as it is. While this process lives
    the entry is not removed. Where `$OMSWEEP_CACHE_GB` is set, a build is followed by
    `omsweep.cache.content.keep_within`.

    Args:
        kind: subfolder of the cache, for example `families`.
        recipe: plain data that determines the content; written beside it as `recipe.json`.
        build: fills an empty folder; whatever it raises is passed on and nothing is kept.
        root: cache folder, default `cache_root()`.

    Returns:
        `<root>/<kind>/<recipe_hash>`, complete. Its time of change is the time of its last use.

    Raises:
        ValueError: the storage refuses locks, or a damaged entry lies where nothing can be written.
    """
    shelf = (root or cache_root()) / kind
    target, built = shelf / recipe_hash(recipe), False
    hold(target)  # before it is looked for: from here on nobody removes it
    if not _usable(target):
        _make_root(shelf.parent)
        shelf.mkdir(exist_ok=True)
        hold(target)  # where there was no shelf
        with locked(lock_file(target), f"builds {kind}/{target.name}"):
            if built := not _usable(target, repair=True):
                _build(target, recipe, build)
    with suppress(OSError):  # a cache that is mounted to be read only
        os.utime(target)
    note(target, built=built)
    if built and (limit := limit_bytes()) is not None:
        keep_within(shelf.parent, limit)
    return target


def try_out(root: Path | None = None) -> None:
    """Write, lock and rename in the cache as a build does; one that cannot be written is fine where it has entries.

    What processes left that were killed while they tried goes.

    Args:
        root: cache folder, default `cache_root()`.

    Raises:
        ValueError: neither can be built in nor read from, or `$OMSWEEP_CACHE_GB` is no size; the message says so.
    """
    root = root or cache_root()
    limit_bytes()
    try:
        _make_root(root)
        with tempfile.TemporaryDirectory(dir=root, prefix=TRIED) as place:
            now = Path(place).stat().st_mtime  # by the storage's own clock
            for left in root.glob(f"{TRIED}*"):
                if now - last_used(left) > ABANDONED_SECONDS:
                    shutil.rmtree(left, ignore_errors=True)
            partial = Path(place) / "partial"
            with locked(lock_file(partial), "tries the cache"):
                partial.mkdir()
                (partial / RECIPE_FILE).write_text("{}")
                partial.rename(partial.with_name("whole"))
    except OSError as error:
        if not any(root.glob(f"*/*/{RECIPE_FILE}")):
            raise ValueError(f"{root} cannot be written: {error.strerror or error}") from None


def _make_root(root: Path) -> None:
    """Make the cache, which holds preference data too, closed to others than owner and group."""
    root.mkdir(CLOSED_FOLDER, parents=True, exist_ok=True)


def take_in(target: Path) -> str | None:
    """Give an entry from before manifests one, of the files that lie in it now; under its lock.

    Only of those directly in its folder: a build left no others then, and what lies deeper was added since.

    Returns:
        What is wrong with the entry, None where it is taken in.
    """
    try:
        whole = recipe_hash(json.loads((target / RECIPE_FILE).read_text())) == target.name
    except (OSError, ValueError):
        whole = False
    if not whole:
        return f"{RECIPE_FILE} is missing or broken"
    write_manifest(target, [path for path in target.iterdir() if path.is_file() and not path.name.startswith(".")])
    return None


def _usable(target: Path, *, repair: bool = False) -> bool:
    """Whether an entry is there and sound; to `repair`, under its lock, is to set it aside where it is not."""
    if not target.is_dir():
        return False
    if has_manifest(target):
        wrong = damage(target)
    elif not os.access(target, os.W_OK):
        return True
    elif repair:
        wrong = take_in(target)
    else:
        return False
    if wrong is None:
        return True
    if not os.access(target.parent, os.W_OK):
        raise ValueError(f"cache entry {target} is damaged ({wrong}), and {target.parent} cannot be written")
    if repair:
        logger.warning("cache entry %s is damaged (%s): it is built again", target, wrong)
        set_aside(target)
    return False


def _build(target: Path, recipe: Mapping[str, Any], build: Callable[[Path], None]) -> None:
    """The entry appears by one rename, when everything in it is on the disk."""
    partial = target.with_name(target.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        build(partial)
        (partial / RECIPE_FILE).write_text(json.dumps(recipe, indent=2, sort_keys=True) + "\n")
        write_manifest(partial, [path for path in partial.rglob("*") if path.is_file()])
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    partial.rename(target)
    synced(target.parent)
