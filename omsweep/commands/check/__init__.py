"""`omsweep check`: what a search space would run, before anything does. Torch-free but for `--show-examples`."""

import argparse

from omsweep.commands import DEFAULT_STORAGE, DONE
from omsweep.console import say


def execute(options: argparse.Namespace) -> int:
    """Check a search space and print what it would run."""
    from omsweep.commands.check.load import load_checked
    from omsweep.commands.check.records import print_records
    from omsweep.commands.check.summary import print_check

    space = load_checked(options.space, options.overrides)
    print_check(options.space, space)
    print_records(space)
    if options.replay is not None:
        from omsweep.cluster.storage import storage_path
        from omsweep.commands.check.replay import replay_lines
        from omsweep.store.folder import SweepFolder

        folder = SweepFolder(storage_path(options.storage, DEFAULT_STORAGE), options.replay)
        say("\n".join(replay_lines(space, folder)))
    if options.show_examples:
        from omsweep.commands.check.examples import print_examples

        print_examples(space)
    return DONE
