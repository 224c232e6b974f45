"""`omsweep check`: what a search space would run, before anything does. Torch-free."""

import argparse

from omsweep.commands import DONE


def execute(options: argparse.Namespace) -> int:
    """Check a search space and print what it would run."""
    from omsweep.commands.check.load import load_checked
    from omsweep.commands.check.summary import print_check

    print_check(options.space, load_checked(options.space, options.overrides))
    return DONE
