"""`omsweep status`: how far a sweep is, and its front."""

import argparse

from omsweep.cluster.storage import storage_path
from omsweep.commands import DEFAULT_STORAGE, DONE
from omsweep.report.tables import print_status
from omsweep.store.folder import SweepFolder


def execute(options: argparse.Namespace) -> int:
    """Print the state of a sweep from its folder."""
    print_status(SweepFolder(storage_path(options.storage, DEFAULT_STORAGE), options.name))
    return DONE
