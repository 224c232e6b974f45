"""Write the policies that a finished comparison reads as one Parquet table, for `benchmarks/recompute.py`.

    python benchmarks/policies.py runs/question-tiny-llama benchmarks/results/question_tiny_llama.parquet

One row a policy: where it belongs (family, SFT seed, run, label, grid), dose, weight on its way back to the SFT model,
and reward and tax over all items of both splits.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet

from omsweep.results.comparison.points import REWARD, TAX, Points
from omsweep.results.comparison.question import question_of
from omsweep.results.comparison.reading import points_of
from omsweep.store.folder import SweepFolder


def table_of(points: Points) -> pa.Table:
    """The policies of the blocks that are compared."""
    family, sft_seed, run = zip(*points.block, strict=True)
    columns = {"family": family, "sft_seed": sft_seed, "run": run, "label": points.label, "grid": points.grid}
    columns |= {"dose": points.dose, "weight": points.weight}
    for split, readings in (("search", points.search), ("report", points.report[:, 0])):
        columns |= {f"{split}_reward": readings[:, REWARD], f"{split}_tax": readings[:, TAX]}
    kept = [block in points.blocks for block in points.block]
    return pa.table({name: pa.array(list(values), from_pandas=False) for name, values in columns.items()}).filter(kept)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sweep", type=Path, help="the sweep's folder")
    parser.add_argument("output", type=Path)
    options = parser.parse_args(arguments)
    folder = SweepFolder(options.sweep.parent, options.sweep.name)
    question = question_of(folder.sweep()["resolved"])
    if question is None:
        parser.error(f"{options.sweep} was asked for no comparison")
    table = table_of(points_of(folder, question, folder.trials()))
    pyarrow.parquet.write_table(table, options.output)
    sys.stdout.write(f"{options.output}: {table.num_rows} policies\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
