"""`omsweep check`: what a search space would run, before anything does. Torch-free but for `--show-examples`."""

import argparse

from omsweep.commands import DONE


def execute(options: argparse.Namespace) -> int:
    """Check a search space and print what it would run."""
    from omsweep.commands.check.load import load_checked
    from omsweep.commands.check.records import print_records
    from omsweep.commands.check.summary import print_check

    space = load_checked(options.space, options.overrides)
    print_check(options.space, space)
    print_records(space)
    if options.show_examples:
        from omsweep.commands.check.examples import print_examples

        print_examples(space)
    return DONE
