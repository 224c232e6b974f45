"""`omsweep sandbox`: whether this machine holds programs that a model wrote. Torch-free."""

import argparse
import time

from rich.table import Table

from omsweep.commands import DONE, FAILED
from omsweep.console import Console, say
from omsweep.evaluation.sandbox.battery import run_battery
from omsweep.evaluation.sandbox.hostile import HOSTILE
from omsweep.evaluation.sandbox.run import available

TABLE_WIDTH = 160


def execute(options: argparse.Namespace) -> int:
    """Run the battery of hostile programs, or benchmarks' own solutions."""
    if (why := available()) is not None:
        say(f"no program of a model can be run here: {why}", error=True)
        return FAILED
    if options.references:
        from omsweep.commands.sandbox.references import run_references

        return run_references(options.references)
    say(f"{len(HOSTILE)} hostile programs", error=True)
    started = time.monotonic()
    rows = run_battery()
    table = Table("", "program tries", "outcome", "reason", "s", box=None, pad_edge=False)
    for row in rows:
        verdict = row.verdict
        seconds = f"{verdict.seconds:.1f}"
        table.add_row("held" if row.held else "THROUGH", row.hostile.name, verdict.outcome, verdict.reason, seconds)
    Console(highlight=False, markup=False, width=TABLE_WIDTH).print(table)
    through = sum(not row.held for row in rows)
    say(f"{len(rows) - through} of {len(rows)} held, {time.monotonic() - started:.1f} s")
    return FAILED if through else DONE
