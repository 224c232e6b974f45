"""A sweep that is run: made the first time, gone on with afterwards, and never another one under its name."""

import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any

from omsweep.deadline import Result, within
from omsweep.engine.executor import Ready
from omsweep.provenance import differing, revision, versions
from omsweep.space.inputs import Inputs, changed
from omsweep.space.located import located
from omsweep.space.schema import Design
from omsweep.space.specs import OPERATIONAL
from omsweep.store.folder import SweepFolder, reference_of
from omsweep.store.lease import FOLDER, LeaseHeld
from omsweep.store.log import SweepLog
from omsweep.store.storage import try_out
from omsweep.strict_json import flatten, plain

LONGEST_LIST = 6
ANSWER_SECONDS = 30.0
"""In which a storage must have been tried."""
COUNTS = ("design.blocks", "design.seeds", "design.sft_seeds", "search.trials", "search.replicates")
"""What `omsweep extend` may raise: the trials that there are stay what they are."""
MODELS = ("weights_hash", "base_hash", "base_revision", "sft_revision", "dtype", "chat_template", "decoding")
"""Fields of `Prepared` that make its trials what they are."""


@contextmanager
def opened(
    folder: SweepFolder,
    resolved: Mapping[str, Any],
    say: Callable[[str], None],
    *,
    inputs: Inputs = MappingProxyType({}),
    repair: bool = False,
    extend: bool = False,
) -> Iterator[SweepLog]:
    """The sweep's log in this driver's hands, once its storage was tried; where nothing was created no folder stays.

    Args:
        folder: the sweep's.
        resolved: search space that is to be run.
        say: is told what is waited for.
        inputs: files and folders that the space names.
        repair: go on with a damaged log.
        extend: `COUNTS` may be higher than they were.

    Raises:
        ValueError: the storage cannot be used, another driver runs the sweep, it has another search space or inputs
            with other content, or it is from before the log.
    """
    missing = answered(f"storage {folder.storage}", lambda: _tried(folder))
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
            if "inputs" in log.state.created:
                refuse_changed_inputs(f"sweep {folder.path}", log.state.created["inputs"], inputs)
            note_changes(log, resolved)
        yield log
    finally:
        log.close()
        if not log.state.created:
            shutil.rmtree(folder.path / FOLDER, ignore_errors=True)
            _remove_empty([folder.path, *missing])


def answered(what: str, act: Callable[[], Result]) -> Result:
    """What `act` returns; ValueError where it refuses, or has not answered after `ANSWER_SECONDS`."""
    try:
        return within(ANSWER_SECONDS, act)
    except (ValueError, OSError) as error:
        raise ValueError(f"{what} cannot be used: {error}") from None


def _tried(folder: SweepFolder) -> list[Path]:
    """Try a sweep's storage; the folders that were not there before, the innermost first."""
    missing = [path for path in (folder.path, *folder.path.parents) if not path.exists()]
    try:
        try_out(folder.files)
    except BaseException:
        _remove_empty(missing)
        raise
    return missing


def _remove_empty(folders: Iterable[Path]) -> None:
    for folder in folders:
        with suppress(OSError):  # not empty, or another driver's by now
            folder.rmdir()


def create(
    log: SweepLog, name: str, resolved: Mapping[str, Any], say: Callable[[str], None] = print, **more: Any
) -> None:
    """Note what the sweep is, unless that is known, and which driver goes on with it; say what that has of its own.

    Args:
        log: of the sweep.
        name: of the sweep.
        resolved: its search space.
        say: is told which versions are others than those of the last driver.
        more: data of the event `created`.
    """
    made_with: dict[str, Any] = {"versions": versions(), **revision()}
    if not log.state.created:
        log.append("created", name=name, sweep_id=uuid.uuid4().hex, resolved=plain(resolved), **more, **made_with)
    elif others := _other_versions(log.state.driver or log.state.created, made_with):
        say(f"the last driver of this sweep had other versions: {', '.join(others)}")
    log.append("driver", did="started", **made_with)


def refuse_another(
    folder: SweepFolder, there: Mapping[str, Any], here: Mapping[str, Any], *, extend: bool = False
) -> None:
    """ValueError where a sweep's search space is another one, naming what differs."""
    different = differences(there, here)
    grown = [path for path, old, new in different if path in COUNTS and None not in (old, new) and new > old]
    if not names_sft_seeds(there):  # its trials are not named by their SFT seed, those of several would be
        grown = [path for path in grown if path != "design.sft_seeds"]
    if extend:
        different = [one for one in different if one[0] not in grown]
    elif different and len(grown) == len(different):
        growth = "; ".join(f"{path} is {old} there and {new} here" for path, old, new in different)
        raise ValueError(f"sweep {folder.path} is smaller: {growth}. `omsweep extend` adds the trials that are missing")
    if different:
        listed = [f"{path} is {shown(old)} there and {shown(new)} here" for path, old, new in different]
        more = f", and {len(listed) - LONGEST_LIST} more" if len(listed) > LONGEST_LIST else ""
        raise ValueError(
            f"sweep {folder.path} has another search space: {'; '.join(listed[:LONGEST_LIST])}{more}. Choose another"
            " --name, or run it with the space it has"
        )


def names_sft_seeds(resolved: Mapping[str, Any]) -> bool:
    """Whether a resolved space's trials say their SFT seed; see `omsweep.space.schema.Design.names_sft_seeds`."""
    return Design(**(resolved.get("design") or {})).names_sft_seeds


def refuse_changed_inputs(what: str, there: Inputs, here: Inputs) -> None:
    """ValueError where a file or folder that a search space names holds something else than it did."""
    others = changed(there, here)
    if others:
        more = f", and {len(others) - 1} more changed" if len(others) > 1 else ""
        raise ValueError(
            f"{what} was made from other data: {others[0]}{more}; bring the former content back, or `omsweep run` it"
            " under another --name"
        )


def refuse_other_models(what: str, there: Mapping[str, Mapping[str, Any]], ready: Ready) -> None:
    """ValueError where a family's models are not those that trials were trained from.

    Args:
        what: the sweep of these trials, for the message.
        there: data of its events `prepared`, by `omsweep.store.state.family_key`.
        ready: what is ready now.
    """
    for (family, sft_seed), (models, _) in ready.items():
        known = (reference_of(there, family, sft_seed) or {}).get("models", {})
        for name in MODELS:
            old, new = known.get(name), plain(getattr(models, name))
            if old != new and None not in (old, new):
                raise ValueError(
                    f"{what} was trained from other models: {name} of {family} is {shown(old)} there and {shown(new)}"
                    " here; bring the former models back, or `omsweep run` it under another --name"
                )


def warn_of_nodes(ready: Ready, say: Callable[[str], None]) -> None:
    """Name the libraries whose versions are others on a node that made models ready than in this process."""
    here = versions()
    others = {one: None for models, _ in ready.values() for one in differing(models.versions, here)}
    if others:
        say(f"nodes that prepared have other versions than the driver: {', '.join(others)}")


def note_changes(log: SweepLog, resolved: Mapping[str, Any]) -> None:
    """Note settings that may change between drivers: they say how a sweep is run, not what it finds."""
    if plain(resolved) != plain(log.state.resolved):
        log.append("changed", resolved=plain(resolved))


def differences(there: Mapping[str, Any], here: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """Key paths whose values differ, with both, but for those that may change.

    Former versions noted paths relative to the working directory.
    """
    old, new = (flatten(plain(located(one, Path.cwd()))) for one in (there, here))
    paths = [*new, *(path for path in old if path not in new)]
    return [
        (path, old.get(path), new.get(path))
        for path in paths
        if old.get(path) != new.get(path) and not path.startswith(OPERATIONAL)
    ]


def _other_versions(there: Mapping[str, Any], here: Mapping[str, Any]) -> list[str]:
    revisions = [{name: one.get(name) for name in ("git_revision", "git_modified")} for one in (there, here)]
    return differing(there.get("versions") or {}, here["versions"]) + differing(*revisions)


def shown(value: Any) -> str:
    """A setting's value in a message."""
    return "not set" if value is None else f"{value!r:.80}"
