"""`omsweep data`: the data files that a suite's tasks want, fetched from the hub where it has them, and checked."""

import argparse
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from rich.table import Table

from omsweep.commands import DONE, FAILED
from omsweep.console import Console, say
from omsweep.evaluation.data import Wanted, file_hash, look, named, place, wants
from omsweep.evaluation.settings import suite_folder
from omsweep.foreign import error_line

SHOWN_DIGITS = 16
TABLE_WIDTH = 160


def execute(options: argparse.Namespace) -> int:
    """Run `omsweep data fetch|verify`."""
    folder = suite_folder(options.suite)
    wanted = {task: want for task, want in wants(folder).items() if task in named(folder, options.task or None)}
    if not wanted:
        raise ValueError(f"no task of the suite {options.suite} wants a data file")
    root = Path(options.data_root).expanduser().absolute()
    return {"fetch": _fetch, "verify": _verify}[options.action](root, wanted)


def _fetch(root: Path, wanted: dict[str, Wanted]) -> int:
    """Write what is on the hub and not there yet; what cannot be got is said, and the rest is got."""
    root.mkdir(parents=True, exist_ok=True)
    failed = 0
    for task, want in wanted.items():
        if (there := place(root, want)) is not None:
            say(f"{task}: kept {there}")
        elif want.hub is None:
            say(f"{task}: is not on the hub. Put {root / want.file} there: {want.shape}. It comes from: {want.origin}")
            failed += 1
        else:
            failed += not _fetched(task, root / want.file, want)
    say(f"{len(wanted) - failed} of {len(wanted)} files are in {root}; `omsweep data verify` reads them")
    return FAILED if failed else DONE


def _fetched(task: str, file: Path, want: Wanted) -> bool:
    partial = file.with_name(f".{file.name}.partial")
    try:
        rows = _hub_rows(want)
        with partial.open("w", encoding="utf-8") as target:
            target.writelines(json.dumps(row, ensure_ascii=False, default=str) + "\n" for row in rows)
    except Exception as error:
        partial.unlink(missing_ok=True)
        remedy = f"fetch it where the hub is reached and put it at {file}: {want.shape}"
        say(f"{task}: cannot fetch {want.origin}: {error_line(error):.300}; {remedy}")
        return False
    if problems := look(partial, want).problems:
        partial.unlink()
        say(f"{task}: {want.origin} is not what the task wants any more: {problems[0]}")
        return False
    partial.replace(file)
    say(f"{task}: wrote {file}")
    return True


def _hub_rows(want: Wanted) -> Iterable[dict[str, Any]]:
    from datasets import load_dataset

    rows: Iterable[dict[str, Any]] = load_dataset(want.hub, want.config, split=want.split, revision=want.revision)
    return rows


def _verify(root: Path, wanted: dict[str, Wanted]) -> int:
    """Read every file, show what it holds, and say all that is wrong."""
    table = Table(box=None, pad_edge=False)
    for column in ("task", "file", "items", "repeated", "SHA-256", "licence"):
        table.add_column(column, justify="right" if column in ("items", "repeated") else "left", overflow="fold")
    wrong: list[str] = []
    for task, want in wanted.items():
        there = place(root, want)
        if there is None:
            table.add_row(task, want.file, "missing", "", "", want.licence)
            wrong.append(f"{task}: {root / want.file} is missing; it comes from {want.origin}")
            continue
        found = look(there, want)
        counts = (str(found.items), str(found.twins)) if not found.problems else ("?", "?")
        table.add_row(task, there.name, *counts, file_hash(there)[:SHOWN_DIGITS], want.licence)
        wrong += [
            f"{task}: {problem}" for problem in found.problems or _other_counts(there, found.items, found.twins, want)
        ]
    Console(highlight=False, markup=False, width=TABLE_WIDTH).print(table)
    for line in wrong:
        say(line)
    say(f"{len(wanted)} files wanted in {root}, {len(wrong)} things wrong")
    return FAILED if wrong else DONE


def _other_counts(file: Path, items: int, twins: int, want: Wanted) -> Iterator[str]:
    if want.items is not None and items != want.items:
        yield f"{file} has {items} items, the published one {want.items}"
    if twins > want.twins:
        yield f"{file} has {twins} items that repeat an earlier one, the published one {want.twins}"
