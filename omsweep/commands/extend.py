"""`omsweep extend`: more blocks, seeds or trials for a sweep that has been run."""

import argparse

from omsweep.commands.run import run


def execute(options: argparse.Namespace) -> int:
    """Run a sweep whose search space asks for more than it has had; what it has had stays."""
    return run(options, extend=True)
