"""`omsweep cache`: what the cache holds, whether it is sound, and what may go."""

import argparse
import shutil
import time
from collections import Counter
from datetime import datetime
from pathlib import Path

from filelock import Timeout
from rich.filesize import decimal
from rich.table import Table

from omsweep.cache import RECIPE_FILE, cache_root, take_in
from omsweep.cache.content import (
    GB,
    LIMIT,
    counted,
    entries,
    last_used,
    limit_bytes,
    lock_file,
    name_of,
    remove,
    set_aside,
    size_of,
    target_of,
)
from omsweep.cache.lock import holder_of, locked
from omsweep.cache.manifest import damage, has_manifest
from omsweep.cache.use import unused
from omsweep.commands import DONE, FAILED
from omsweep.console import Console, say

OLD = "no manifest"
UNFINISHED = "unfinished"
DAY_SECONDS = 86_400
TABLE_WIDTH = 200


def execute(options: argparse.Namespace) -> int:
    """Run `omsweep cache ls|verify|rm`."""
    action = {"ls": _list, "verify": _verify, "rm": _remove}[options.action]
    return action(options)


def _list(options: argparse.Namespace) -> int:
    table = Table("kind", "entry", box=None, pad_edge=False)
    for title in ("size", "built", "last used", "state"):
        table.add_column(title, justify="right" if title == "size" else "left", overflow="fold")
    sizes: Counter[str] = Counter()
    found = list(entries(cache_root()))
    for path in found:
        size = size_of(path)
        sizes[path.parent.name] += size
        built = _day((path / RECIPE_FILE).stat().st_mtime) if (path / RECIPE_FILE).is_file() else ""
        row = (decimal(size), built, _day(last_used(path)), _state(path))
        table.add_row(path.parent.name, target_of(path).name, *row)
    if found:
        Console(highlight=False, markup=False, width=TABLE_WIDTH).print(table)
    limit = limit_bytes()
    of = "" if limit is None else f" of at most {decimal(limit)} (${LIMIT})"
    by_kind = ", ".join(f"{kind} {decimal(size)}" for kind, size in sizes.most_common())
    say(f"{counted(len(found))}, {decimal(sizes.total())}{of} in {cache_root()}{': ' if by_kind else ''}{by_kind}")
    return DONE


def _verify(options: argparse.Namespace) -> int:
    found: list[str] = []
    for path in entries(cache_root()):
        if path != target_of(path):
            continue
        if options.repair:
            with locked(lock_file(path), f"checks {name_of(path)}"):
                state = _repaired(path)
        else:
            state = (damage(path, read="all") or "") if has_manifest(path) else OLD
        found.append(state)
        if state:
            say(f"{name_of(path)}: {state}")
    damaged = sum(state not in ("", OLD) for state in found)
    say(f"{counted(len(found))}, {damaged} damaged{' and removed' if damaged and options.repair else ''}")
    if OLD in found:
        say(f"{found.count(OLD)} from before manifests, not checked: the next use takes them in, so does --repair")
    return FAILED if damaged and not options.repair else DONE


def _repaired(path: Path) -> str:
    """What was wrong with an entry, which is gone then; under its lock."""
    if not path.is_dir():
        return ""
    wrong = damage(path, read="all") if has_manifest(path) else take_in(path)
    if wrong is not None:
        shutil.rmtree(set_aside(path))
    return wrong or ""


def _remove(options: argparse.Namespace) -> int:
    """Those that the options name, the ones that were not used for the longest time first."""
    _check(options)
    root, sizes, removed = cache_root(), {path: size_of(path) for path in entries(cache_root())}, 0
    total = before = sum(sizes.values())
    unknown = sorted({*(options.kind or ())} - {path.parent.name for path in sizes})
    if unknown:
        kinds = ", ".join(sorted({path.parent.name for path in sizes})) or "none"
        raise ValueError(f"--kind {unknown[0]} has no entry in {root}; there are {kinds}")
    for path in sorted(sizes, key=last_used):
        if options.kind and path.parent.name not in options.kind:
            continue
        if options.older_than is not None and time.time() - last_used(path) <= options.older_than * DAY_SECONDS:
            continue
        if options.to is not None and total <= options.to * GB:
            break
        if (held := remove(path, dry_run=options.dry_run)) is not None:
            say(f"kept {name_of(path)}: it is held by {held}")
            continue
        say(f"{_verb(options)} {name_of(path)}, {decimal(sizes[path])}")
        total, removed = total - sizes[path], removed + 1
    say(f"{_verb(options)} {counted(removed)}, {decimal(before - total)}; {decimal(total)} left")
    return DONE


def _check(options: argparse.Namespace) -> None:
    if not options.all and options.kind is None and options.older_than is None and options.to is None:
        raise ValueError("cache rm needs to know which: --kind KIND, --older-than DAYS, --to GB, or --all")
    for name, unit, value in (("older-than", "days", options.older_than), ("to", "GB", options.to)):
        if value is not None and not value >= 0:
            raise ValueError(f"--{name} must be a number of {unit} of at least 0, got {value:g}")


def _verb(options: argparse.Namespace) -> str:
    return "would remove" if options.dry_run else "removed"


def _state(path: Path) -> str:
    """What can be told without reading content."""
    if path != target_of(path):
        try:
            with locked(lock_file(target_of(path)), "lists the cache", wait=False):
                return UNFINISHED
        except Timeout:
            return f"being built: {holder_of(lock_file(target_of(path)))}"
    if not has_manifest(path):
        return OLD
    if wrong := damage(path, read="nothing"):
        return f"damaged: {wrong}"
    with unused(path) as free:
        return "whole" if free else "whole, in use"


def _day(time: float) -> str:
    return datetime.fromtimestamp(time).isoformat(" ", "minutes")
