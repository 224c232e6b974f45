"""`omsweep cache`: what the cache holds, whether it is sound, and what may go."""

import argparse
import re
import shutil
import sys
import time
from collections.abc import Iterator, Sized
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from filelock import Timeout
from rich.console import Console
from rich.filesize import decimal
from rich.table import Table

from omsweep.cache import HASH_DIGITS, cache_root, lock_file, set_aside, take_in
from omsweep.cache.lock import holder_of, locked
from omsweep.cache.manifest import damage, has_manifest
from omsweep.commands import DONE, FAILED

ENTRY = re.compile(rf"[0-9a-f]{{{HASH_DIGITS}}}(\.partial)?")
OLD = "no manifest"
UNFINISHED = "unfinished"
DAY_SECONDS = 86_400
TABLE_WIDTH = 200


def execute(options: argparse.Namespace) -> int:
    """Run `omsweep cache list|verify|prune`."""
    action = {"list": _list, "verify": _verify, "prune": _prune}[options.action]
    return action(options)


def entries(root: Path) -> Iterator[Path]:
    """The folders of the cache's entries and of unfinished builds (`.partial`), sorted by kind and hash."""
    for path in sorted(root.glob("*/*")):
        if ENTRY.fullmatch(path.name) and path.is_dir():
            yield path


def _list(options: argparse.Namespace) -> int:
    table = Table("kind", "entry", box=None, pad_edge=False)
    for title in ("size", "last used", "state"):
        table.add_column(title, justify="right" if title == "size" else "left", overflow="fold")
    sizes = []
    for path in entries(cache_root()):
        sizes.append(_size(path))
        used = datetime.fromtimestamp(path.stat().st_mtime).isoformat(" ", "minutes")
        table.add_row(path.parent.name, _target(path).name, decimal(sizes[-1]), used, _state(path))
    if sizes:
        Console(highlight=False, markup=False, width=TABLE_WIDTH).print(table)
    _say(f"{_count(sizes)}, {decimal(sum(sizes))} in {cache_root()}")
    return DONE


def _verify(options: argparse.Namespace) -> int:
    found: list[str] = []
    for path in entries(cache_root()):
        if path != _target(path):
            continue
        if options.repair:
            with locked(lock_file(path), f"checks {_name(path)}"):
                state = _repaired(path)
        else:
            state = (damage(path, read="all") or "") if has_manifest(path) else OLD
        found.append(state)
        if state:
            _say(f"{_name(path)}: {state}")
    damaged = sum(state not in ("", OLD) for state in found)
    _say(f"{_count(found)}, {damaged} damaged{' and removed' if damaged and options.repair else ''}")
    if OLD in found:
        _say(f"{found.count(OLD)} from before manifests, not checked: the next use takes them in, so does --repair")
    return FAILED if damaged and not options.repair else DONE


def _repaired(path: Path) -> str:
    """What was wrong with an entry, which is gone then; under its lock."""
    if not path.is_dir():
        return ""
    wrong = damage(path, read="all") if has_manifest(path) else take_in(path)
    if wrong is not None:
        shutil.rmtree(set_aside(path))
    return wrong or ""


def _prune(options: argparse.Namespace) -> int:
    days = 0.0 if options.all else options.older_than
    if not days >= 0:
        raise ValueError(f"--older-than must be a number of days of at least 0, got {days:g}")
    removed, verb = [], "would remove" if options.dry_run else "removed"
    for path in entries(cache_root()):
        lock = lock_file(_target(path))
        try:
            with locked(lock, f"removes {_name(path)}", wait=False):
                if not path.is_dir() or (not options.all and _idle_days(path) <= days):
                    continue
                removed.append(_size(path))
                if not options.dry_run:
                    shutil.rmtree(path if path != _target(path) else set_aside(path))
        except Timeout:
            _say(f"kept {_name(path)}: it is held by {holder_of(lock)}")
            continue
        _say(f"{verb} {_name(path)}, {decimal(removed[-1])}")
    _say(f"{verb} {_count(removed)}, {decimal(sum(removed))}")
    return DONE


def _idle_days(path: Path) -> float:
    return (time.time() - path.stat().st_mtime) / DAY_SECONDS


def _state(path: Path) -> str:
    """What can be told without reading content."""
    if path != _target(path):
        try:
            with locked(lock_file(_target(path)), "lists the cache", wait=False):
                return UNFINISHED
        except Timeout:
            return f"being built: {holder_of(lock_file(_target(path)))}"
    if not has_manifest(path):
        return OLD
    wrong = damage(path, read="nothing")
    return f"damaged: {wrong}" if wrong else "whole"


def _target(path: Path) -> Path:
    return path.with_name(path.name.removesuffix(".partial"))


def _name(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"


def _count(found: Sized) -> str:
    return "1 entry" if len(found) == 1 else f"{len(found)} entries"


def _size(path: Path) -> int:
    """Bytes of its files; what vanishes meanwhile counts nothing."""
    size = 0
    for file in path.rglob("*"):
        with suppress(FileNotFoundError):
            size += file.stat().st_size if file.is_file() else 0
    return size


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
