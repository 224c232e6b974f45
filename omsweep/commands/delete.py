"""`omsweep delete`: remove a sweep's folder, once nobody works on it and somebody has agreed."""

import argparse
import shutil
import sys

from rich.filesize import decimal

from omsweep.cluster.storage import storage_path
from omsweep.commands import DEFAULT_STORAGE, DONE
from omsweep.console import say
from omsweep.report import captions
from omsweep.results.numbers import counted
from omsweep.results.progress import Driver, standing_of, sweeps_in
from omsweep.sinks.cursor import Cursor
from omsweep.store.folder import SweepFolder


def execute(options: argparse.Namespace) -> int:
    """Say what goes, ask on a terminal unless `--yes`, and remove it; MLflow's runs stay."""
    folder = SweepFolder(storage_path(options.storage, DEFAULT_STORAGE), options.name)
    if not folder.path.is_dir() or not (folder.exists() or folder.files.names("lease")):
        there = ", ".join(one.name for one in sweeps_in(folder.storage)) if folder.storage.is_dir() else ""
        raise ValueError(f"no sweep {folder.name} in {folder.storage}; there is {there or 'none'}")
    _refuse_running(folder)
    say(f"this removes {folder.path}: {_content(folder)}")
    for line in _also(folder):
        say(line)
    if not options.yes and not _agreed(folder.name):
        raise ValueError("nothing was removed")
    _refuse_running(folder)  # somebody may have begun while this waited for an answer
    _remove(folder)
    say(f"removed {folder.path}")
    return DONE


def _refuse_running(folder: SweepFolder) -> None:
    driver = Driver.of(folder.files)
    if driver is not None and not driver.silent:
        raise ValueError(f"sweep {folder.name} is run by {driver.name}: `omsweep stop {folder.name}` ends it first")


def _content(folder: SweepFolder) -> str:
    files = [file for file in folder.path.rglob("*") if file.is_file() and not file.is_symlink()]
    size = decimal(sum(file.stat().st_size for file in files))
    policies = folder.path / "policies"
    kept = len(list(policies.iterdir())) if policies.is_dir() else 0
    try:
        progress = standing_of(folder)
    except ValueError as error:  # a damaged log may be removed too
        return f"{size} in {counted(len(files), 'file')}, {counted(kept, 'trained model')}; {error}"
    how = "never begun" if progress is None else captions.standing(progress)
    return f"{size} in {counted(len(files), 'file')}, {counted(kept, 'trained model')}; {how}"


def _also(folder: SweepFolder) -> list[str]:
    """What else hangs on the sweep: forks whose policies lie in it, runs in MLflow."""
    told = Cursor.read(folder.files)
    lines = [] if told is None else [f"its runs in MLflow stay, in experiment {told.experiment} of {told.tracking_uri}"]
    forks = [name for name in _others(folder) if _forked_from(SweepFolder(folder.storage, name)) == str(folder.path)]
    if forks:
        lines.append(f"policies that go with it: those that {', '.join(forks)} took over from it, as a fork does")
    return lines


def _others(folder: SweepFolder) -> list[str]:
    return [one.name for one in sweeps_in(folder.storage) if one.name != folder.name and one.state is not None]


def _forked_from(folder: SweepFolder) -> str | None:
    origin = folder.state().created.get("forked_from") or {}
    return origin.get("path")


def _agreed(name: str) -> bool:
    if not sys.stdin.isatty():
        raise ValueError("without a terminal --yes is needed; nothing was removed")
    return input(f"type {name} to remove it: ").strip() == name


def _remove(folder: SweepFolder) -> None:
    """Move the folder aside in one step, so that no half of a sweep is left under its name, then empty it."""
    aside = folder.path.with_name(f".{folder.name}.deleted")
    shutil.rmtree(aside, ignore_errors=True)  # of a deletion that was killed
    folder.path.rename(aside)
    shutil.rmtree(aside)
