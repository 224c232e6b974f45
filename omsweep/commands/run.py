"""`omsweep run`: run a sweep, or go on with it."""

import argparse

from omsweep.cluster.storage import check_job_tracking, check_tracking, in_ray_job, storage_folder
from omsweep.commands import DEFAULT_STORAGE
from omsweep.commands.check.load import load_checked
from omsweep.commands.check.summary import print_check
from omsweep.store.folder import SweepFolder


def execute(options: argparse.Namespace) -> int:
    """Say what a search space would run, then run what of it has not been run."""
    return run(options)


def run(options: argparse.Namespace, *, extend: bool = False, fork: SweepFolder | None = None) -> int:
    """Run a search space file; what can be refused is refused before Ray is imported."""
    space = load_checked(options.space, options.overrides)
    (check_job_tracking if in_ray_job() else check_tracking)(options.tracking_uri)
    storage = storage_folder(options.storage, DEFAULT_STORAGE)
    print_check(options.space, space)

    from omsweep.engine.run import run_sweep

    name = options.name or space.file.name
    return run_sweep(space, name, storage, options.tracking_uri, repair=options.repair, extend=extend, fork=fork)
