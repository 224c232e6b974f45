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

from omsweep.cache.lock import locked
from omsweep.cache.manifest import damage, has_manifest, synced, write_manifest

RECIPE_FILE = "recipe.json"
HASH_DIGITS = 16
CLOSED_FOLDER = 0o770

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
    by one process where several find it. An entry from before manifests is taken in as it is.

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
    target = shelf / recipe_hash(recipe)
    if not _usable(target):
        _make_root(shelf.parent)
        shelf.mkdir(exist_ok=True)
        with locked(lock_file(target), f"builds {kind}/{target.name}"):
            if not _usable(target, repair=True):
                _build(target, recipe, build)
    with suppress(OSError):  # a cache that is mounted to be read only
        os.utime(target)
    return target


def try_out(root: Path | None = None) -> None:
    """Write, lock and rename in the cache as a build does; one that cannot be written is fine where it has entries.

    Args:
        root: cache folder, default `cache_root()`.

    Raises:
        ValueError: neither can be built in nor read from; the message names the folder.
    """
    root = root or cache_root()
    try:
        _make_root(root)
        with tempfile.TemporaryDirectory(dir=root, prefix=".tried-") as place:
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


def lock_file(target: Path) -> Path:
    """The lock under which an entry is built, repaired and removed. It stays: another process may wait on it."""
    return target.with_name(target.name + ".lock")


def set_aside(target: Path) -> Path:
    """Turn an entry into the leftover of a build, which nobody reads and the next build replaces; under its lock."""
    partial = target.with_name(target.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    return target.rename(partial)


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
