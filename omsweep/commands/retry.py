"""`omsweep retry`: trials of a sweep that failed, once more."""

import argparse

from omsweep.cluster.storage import check_job_tracking, check_tracking, in_ray_job, storage_folder
from omsweep.commands import DEFAULT_STORAGE
from omsweep.store.folder import SweepFolder
from omsweep.store.log import SweepLog
from omsweep.store.state import SweepState


def execute(options: argparse.Namespace) -> int:
    """Take back the end of failed trials, and run the sweep again: what is trained is scored, the rest trained."""
    (check_job_tracking if in_ray_job() else check_tracking)(options.tracking_uri)
    storage = storage_folder(options.storage, DEFAULT_STORAGE)
    folder = SweepFolder(storage, options.name)
    chosen = chosen_of(folder.state(), options.trial)
    from omsweep.space.build import build_space

    space = build_space(dict(folder.state().resolved))
    retry(folder, chosen, why=options.why)

    from omsweep.engine.run import run_sweep

    return run_sweep(space, options.name, storage, options.tracking_uri)


def retry(folder: SweepFolder, trials: list[str], *, why: str) -> None:
    """Take back the end of trials; raises LeaseHeld while a driver runs the sweep."""
    log = SweepLog.open(folder.files)
    try:
        log.append("changed", retry=trials, why=why)
    finally:
        log.close()


def chosen_of(state: SweepState, asked: list[str]) -> list[str]:
    """The trials that are tried again: those named, or all that failed.

    Raises:
        ValueError: none failed, or one that is named did not.
    """
    failed = [one.trial_id for one in state.ended() if one.outcome is not None and one.outcome["state"] == "failed"]
    others = [trial_id for trial_id in asked if trial_id not in failed]
    if others:
        raise ValueError(f"{others[0]} has not failed; failed trials of this sweep: {', '.join(failed) or 'none'}")
    if not failed:
        raise ValueError("no trial of this sweep has failed")
    return asked or failed
