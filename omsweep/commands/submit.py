"""`omsweep submit`: a sweep as a Ray job on a cluster."""

import argparse

from omsweep.commands.check.load import load_checked


def execute(options: argparse.Namespace) -> int:
    """Check a search space, then submit it; a mistake in it is said before Ray is imported."""
    space = load_checked(options.space, options.overrides, files_here=False)

    from omsweep.cluster.submit import submit_sweep

    return submit_sweep(
        options.space,
        space,
        overrides=options.overrides,
        address=options.address,
        name=options.name,
        storage=options.storage,
        tracking_uri=options.tracking_uri,
        wait=not options.no_wait,
    )
