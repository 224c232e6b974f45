"""`omsweep list`: the sweeps of a storage, and the jobs of a cluster that run some."""

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING

from rich.table import Table

from omsweep.cluster.storage import storage_path
from omsweep.commands import DEFAULT_STORAGE, DONE, dashboard_address
from omsweep.console import Console, say
from omsweep.results.numbers import MISSING, fixed
from omsweep.results.progress import SweepLine, sweeps_in
from omsweep.strict_json import plain

if TYPE_CHECKING:
    from omsweep.cluster.dashboard import Job

TABLE_WIDTH = 200


def execute(options: argparse.Namespace) -> int:
    """Print the sweeps of a storage, or the jobs of a dashboard; where neither is named, of those that are there."""
    address, storage = dashboard_address(options.address), storage_path(options.storage, DEFAULT_STORAGE)
    asks_dashboard = address is not None and options.storage is None
    reads_storage = options.address is None and (not asks_dashboard or storage.is_dir())
    sweeps = sweeps_in(storage) if reads_storage else []
    jobs = _jobs(address) if asks_dashboard else []
    if options.json:
        found = {"sweeps": [asdict(one) for one in sweeps], "jobs": [asdict(one) for one in jobs]}
        text = json.dumps(plain(found), indent=2, allow_nan=False, ensure_ascii=False)
        say(text)
        return DONE
    if reads_storage:
        _print(_sweep_table(sweeps) if sweeps else f"no sweep in {storage}")
    if asks_dashboard:
        _print(_job_table(jobs) if jobs else f"no job of a sweep on {address}")
    return DONE


def _jobs(address: str | None) -> "list[Job]":
    from omsweep.cluster.dashboard import connected

    with connected(address) as client:
        return client.jobs()


def _sweep_table(sweeps: Sequence[SweepLine]) -> Table:
    table = _table("sweep", "state", "trials", "best front", "last written", "driver")
    for one in sweeps:
        trials = f"{one.ended} of {MISSING if one.planned is None else one.planned}"
        front = f"{one.family}: {one.members}, hypervolume {fixed(one.hypervolume)}" if one.members else MISSING
        told = (one.note,) if one.note else (trials, front, _when(one.time), one.driver or "")
        table.add_row(one.name, one.state or MISSING, *told)
    return table


def _job_table(jobs: "Sequence[Job]") -> Table:
    table = _table("sweep", "state", "started", "ended", "job")
    for one in jobs:
        table.add_row(one.sweep, one.how, _when(one.started), _when(one.ended), one.job_id)
    return table


def _table(*titles: str) -> Table:
    table = Table(box=None, pad_edge=False)
    for title in titles:
        table.add_column(title, overflow="fold")
    return table


def _when(seconds: float | None) -> str:
    return datetime.fromtimestamp(seconds).isoformat(" ", "minutes") if seconds else ""


def _print(what: Table | str) -> None:
    Console(highlight=False, markup=False, width=TABLE_WIDTH).print(what)
