"""Folders built once per recipe and shared by every process that asks for the same recipe.

A recipe is plain data that fixes the result (seeds, versions, hashes of inputs). Two processes that ask at once wait on
one file lock; a build that dies half-way leaves only a `.partial` folder, which the next build replaces.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock

RECIPE_FILE = "recipe.json"


def cache_root() -> Path:
    """The cache folder: `$OMSWEEP_CACHE` when set, else `~/.cache/omsweep`; absolute, not created."""
    configured = os.environ.get("OMSWEEP_CACHE")
    return (Path(configured) if configured else Path.home() / ".cache" / "omsweep").expanduser().absolute()


def recipe_hash(recipe: Mapping[str, Any]) -> str:
    """Sixteen hex digits of the SHA-256 of the recipe's canonical JSON (sorted keys; only plain data is accepted)."""
    canonical = json.dumps(recipe, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def build_once(
    kind: str, recipe: Mapping[str, Any], build: Callable[[Path], None], *, root: Path | None = None
) -> Path:
    """Return the folder of `recipe`, calling `build(folder)` first if nobody has built it yet.

    Args:
        kind: subfolder of the cache, for example `families`.
        recipe: plain data that determines the content; written beside it as `recipe.json`.
        build: fills an empty folder; whatever it raises is passed on and nothing is kept.
        root: cache folder, default `cache_root()`.

    Returns:
        `<root>/<kind>/<recipe_hash>`, complete.
    """
    shelf = (root or cache_root()) / kind
    target = shelf / recipe_hash(recipe)
    if target.is_dir():
        return target
    shelf.mkdir(parents=True, exist_ok=True)
    with FileLock(str(target) + ".lock"):
        if target.is_dir():
            return target
        partial = target.with_name(target.name + ".partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        build(partial)
        (partial / RECIPE_FILE).write_text(json.dumps(recipe, indent=2, sort_keys=True) + "\n")
        partial.rename(target)
    return target
