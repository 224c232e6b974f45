"""`omsweep fork`: a new sweep that starts from an earlier one's results."""

import argparse

from omsweep.cluster.storage import storage_path
from omsweep.commands import DEFAULT_STORAGE
from omsweep.commands.run import run
from omsweep.store.folder import SweepFolder


def execute(options: argparse.Namespace) -> int:
    """Run a search space of which the trials that an earlier sweep has are not run again."""
    if options.name == options.old:
        raise ValueError(f"--name must be another than the sweep that is forked, got {options.name!r} for both")
    return run(options, fork=SweepFolder(storage_path(options.storage, DEFAULT_STORAGE), options.old))
