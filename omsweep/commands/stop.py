"""`omsweep stop`: have the driver of a sweep end in order, and wait for it."""

import argparse
import os
import signal
import time

from omsweep.cluster.storage import storage_path
from omsweep.commands import DEFAULT_STORAGE, DONE, FAILED, dashboard_address
from omsweep.console import say
from omsweep.report import captions
from omsweep.results.progress import standing_of, sweeps_in
from omsweep.store.folder import SweepFolder
from omsweep.store.lease import Owner, holder

PATIENCE_SECONDS = 600.0
LOOK_SECONDS = 0.2


def execute(options: argparse.Namespace) -> int:
    """Stop the driver on this machine that holds the sweep, else the Ray job that runs it."""
    address = dashboard_address(options.address)
    folder = SweepFolder(storage_path(options.storage, DEFAULT_STORAGE), options.name)
    if options.address is None:
        owner = holder(folder.files)
        if owner is not None and owner.is_here:
            return _stop_process(folder, owner)
        if address is None or (owner is None and folder.exists()):
            raise ValueError(_why_not(folder, owner))
    return _stop_job(address, options.name)


def _stop_process(folder: SweepFolder, owner: Owner) -> int:
    try:
        os.kill(owner.pid, signal.SIGTERM)
    except PermissionError:
        raise ValueError(f"{owner} belongs to another user, who can stop it") from None
    say(f"told {owner} to stop; waiting until it has closed its runs and written its report")
    deadline = time.monotonic() + PATIENCE_SECONDS
    while holder(folder.files) == owner:
        if time.monotonic() > deadline:
            say(f"{owner} has not stopped after {PATIENCE_SECONDS:.0f} s; kill -9 {owner.pid} ends it, nothing is lost")
            return FAILED
        time.sleep(LOOK_SECONDS)
    progress = standing_of(folder)
    say(f"sweep {folder.name}: " + ("stopped" if progress is None else captions.standing(progress)))
    return DONE


def _stop_job(address: str | None, name: str) -> int:
    from omsweep.cluster.dashboard import connected, job_of, stop

    with connected(address) as client:
        job = job_of(client, name)
        if job.is_over:
            raise ValueError(f"sweep {name} does not run on {client.get_address()}: job {job.job_id} {job.how}")
        say(f"told job {job.job_id} to stop; waiting until it has closed its runs and written its report")
        status = stop(client, job.job_id, patience=PATIENCE_SECONDS)
    if not status.is_terminal():
        say(f"job {job.job_id} has not stopped after {PATIENCE_SECONDS:.0f} s")
        return FAILED
    say(f"job {job.job_id} {status.lower()}; {captions.GOES_ON}")
    return DONE


def _why_not(folder: SweepFolder, owner: Owner | None) -> str:
    """Why there is no driver here to be stopped."""
    if owner is not None:
        how = (
            "`omsweep stop --address` with the address of its cluster's dashboard" if owner.job else "the command there"
        )
        return f"sweep {folder.name} is run by {owner}, which is not on this machine: stop it with {how}"
    progress = standing_of(folder)
    if progress is not None:
        return f"sweep {folder.name} does not run: {captions.standing(progress)}"
    there = ", ".join(one.name for one in sweeps_in(folder.storage))
    return f"no sweep {folder.name} in {folder.storage}; " + (f"there are {there}" if there else "there is none")
