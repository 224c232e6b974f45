"""A sweep that is run: made the first time, gone on with afterwards, and never another one under its name."""

import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from omsweep.provenance import revision, versions
from omsweep.space.specs import OPERATIONAL
from omsweep.store.folder import SweepFolder
from omsweep.store.lease import FOLDER, LeaseHeld
from omsweep.store.log import SweepLog
from omsweep.strict_json import flatten, plain

LONGEST_LIST = 6
COUNTS = ("design.blocks", "design.seeds", "design.sft_seeds", "search.trials")
"""What `omsweep extend` may raise: the trials that there are stay what they are."""


@contextmanager
def opened(
    folder: SweepFolder,
    resolved: Mapping[str, Any],
    say: Callable[[str], None],
    *,
    repair: bool = False,
    extend: bool = False,
) -> Iterator[SweepLog]:
    """The sweep's log in this driver's hands; a folder in which nothing was created is removed again.

    Args:
        folder: the sweep's.
        resolved: search space that is to be run.
        say: is told what is waited for.
        repair: go on with a damaged log.
        extend: `COUNTS` may be higher than they were.

    Raises:
        ValueError: another driver runs the sweep, it has another search space, or it is from before the log.
    """
    if folder.sweep_json.is_file() and not folder.events_jsonl.is_file():
        raise ValueError(
            f"sweep {folder.path} is from before omsweep kept a log and can be reported, not gone on with: choose"
            " another --name"
        )
    try:
        log = SweepLog.open(folder.files, say=say, repair=repair)
    except LeaseHeld as held:
        raise ValueError(f"sweep {folder.name} in {folder.storage}: {held}") from None
    try:
        if log.state.created:
            refuse_another(folder, log.state.resolved, resolved, extend=extend)
            note_changes(log, resolved)
        yield log
    finally:
        log.close()
        if not log.state.created:
            shutil.rmtree(folder.path / FOLDER, ignore_errors=True)
            if not any(folder.path.iterdir()):
                folder.path.rmdir()


def create(log: SweepLog, name: str, resolved: Mapping[str, Any]) -> None:
    """Note what the sweep is, unless that is known, and which driver goes on with it."""
    made_with: dict[str, Any] = {"versions": versions(), **revision()}
    if not log.state.created:
        log.append("created", name=name, sweep_id=uuid.uuid4().hex, resolved=plain(resolved), **made_with)
    log.append("driver", did="started", **made_with)


def refuse_another(
    folder: SweepFolder, there: Mapping[str, Any], here: Mapping[str, Any], *, extend: bool = False
) -> None:
    """ValueError where a sweep's search space is another one, naming what differs."""
    different = differences(there, here)
    grown = [path for path, old, new in different if path in COUNTS and None not in (old, new) and new > old]
    if extend:
        different = [one for one in different if one[0] not in grown]
    elif different and len(grown) == len(different):
        growth = "; ".join(f"{path} is {old} there and {new} here" for path, old, new in different)
        raise ValueError(f"sweep {folder.path} is smaller: {growth}. `omsweep extend` adds the trials that are missing")
    if different:
        listed = [f"{path} is {_shown(old)} there and {_shown(new)} here" for path, old, new in different]
        more = f", and {len(listed) - LONGEST_LIST} more" if len(listed) > LONGEST_LIST else ""
        raise ValueError(
            f"sweep {folder.path} has another search space: {'; '.join(listed[:LONGEST_LIST])}{more}. Choose another"
            " --name, or run it with the space it has"
        )


def note_changes(log: SweepLog, resolved: Mapping[str, Any]) -> None:
    """Note settings that may change between drivers: they say how a sweep is run, not what it finds."""
    if plain(resolved) != plain(log.state.resolved):
        log.append("changed", resolved=plain(resolved))


def differences(there: Mapping[str, Any], here: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """Key paths whose values differ, with both, but for those that may change."""
    old, new = flatten(plain(there)), flatten(plain(here))
    paths = [*new, *(path for path in old if path not in new)]
    return [
        (path, old.get(path), new.get(path))
        for path in paths
        if old.get(path) != new.get(path) and not path.startswith(OPERATIONAL)
    ]


def _shown(value: Any) -> str:
    return "not set" if value is None else f"{value!r:.80}"
