"""`omsweep report`: a sweep's front, page, study and comparison, written again."""

import argparse

from omsweep.cluster.storage import storage_path
from omsweep.commands import DEFAULT_STORAGE, DONE
from omsweep.report.tables import print_answers, print_status
from omsweep.report.write import write_report
from omsweep.store.folder import SweepFolder


def execute(options: argparse.Namespace) -> int:
    """Write the report from a sweep's folder and print its tables."""
    folder = SweepFolder(storage_path(options.storage, DEFAULT_STORAGE), options.name)
    write_report(folder)
    print_status(folder)
    print_answers(folder)
    return DONE
