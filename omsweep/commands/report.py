"""`omsweep report`: a sweep's front, page, study and comparison, written again; with `--sync` its MLflow runs too.

With `--compare` two or more sweeps beside each other.
"""

import argparse
from contextlib import closing

from omsweep.cluster.storage import check_tracking, storage_path
from omsweep.commands import DEFAULT_STORAGE, DONE, FAILED
from omsweep.console import say
from omsweep.report.answers.beside import text, write_beside
from omsweep.report.tables import print_answers, print_status
from omsweep.report.write import write_report
from omsweep.sinks.cursor import Cursor, experiment_of
from omsweep.sinks.first_connection import sqlite_uri
from omsweep.sinks.mlflow import MlflowSink
from omsweep.store.folder import SweepFolder
from omsweep.store.lease import LeaseHeld
from omsweep.store.log import SweepLog

FLUSH_SECONDS = 60.0


def execute(options: argparse.Namespace) -> int:
    """Write the report from a sweep's folder and print its tables."""
    if options.compare:
        return _compare(options)
    if options.name is None:
        raise ValueError("report takes the name of a sweep, or --compare with two or more")
    folder = SweepFolder(storage_path(options.storage, DEFAULT_STORAGE), options.name)
    if options.sync:
        check_tracking(options.tracking_uri)
        return _sync(folder, options.tracking_uri)
    _report(folder)
    return DONE


def _compare(options: argparse.Namespace) -> int:
    """Print and write two or more sweeps beside each other."""
    if options.sync:
        raise ValueError("--sync is for one sweep, and --compare for two or more: leave one of them out")
    storage = storage_path(options.storage, DEFAULT_STORAGE)
    names = ([options.name] if options.name else []) + options.compare
    found, target = write_beside([SweepFolder(storage, name) for name in names])
    say(f"{text(found)}\nPage: {target}")
    return DONE


def _report(folder: SweepFolder) -> None:
    write_report(folder)
    print_status(folder)
    print_answers(folder)


def _sync(folder: SweepFolder, tracking_uri: str | None) -> int:
    """Report, and have MLflow told the rest; a sweep whose driver was killed is interrupted from now on."""
    if not folder.events_jsonl.is_file():
        raise ValueError(f"--sync needs a sweep with a log, and {folder.path} has no {folder.events_jsonl.name}")
    try:
        log = SweepLog.open(folder.files, say=_warn)
    except LeaseHeld as held:
        raise ValueError(f"--sync: sweep {folder.name} writes to MLflow itself: {held}") from None
    with closing(log):
        former = Cursor.read(folder.files)
        uri = tracking_uri or (former.tracking_uri if former else sqlite_uri(folder.storage / "mlflow.db"))
        experiment = experiment_of(folder.files, log.state.resolved)
        sink = MlflowSink(folder.files, uri, experiment, folder.path, _warn, log)
        if log.state.closed is None:
            log.append("driver", did="found dead", closed="interrupted")
        _report(folder)
        sink.start()
        try:
            sink.flush(FLUSH_SECONDS)
        finally:
            all_told = sink.stop()
    return DONE if all_told else FAILED


def _warn(text: str) -> None:
    say(f"warning: {text}", error=True)
