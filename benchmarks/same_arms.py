"""A/A test: AdamW against itself. Any verdict but `equivalent` is false, and that at most in 5 % of reports.

Reads a finished compare sweep with a ladder and two training seeds for each SFT seed. Of every SFT seed one run of
AdamW is called `adamw` and the other `again`, in every way there is (at most `--ways` of them, drawn at random), and
each of these is compared as a report would. Exit status 1 where more than 5 % of them have a false verdict.
"""

import argparse
import itertools
import random
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from omsweep.results.comparison.findings import findings
from omsweep.results.comparison.points import Arm, Points
from omsweep.results.comparison.question import Question, question_of
from omsweep.results.comparison.reading import points_of
from omsweep.store.folder import SweepFolder

Unit = tuple[str, str]
"""Family and SFT seed."""
LEAST = 6
"""Of 3 SFT seeds there are 4 different ways, the most extreme of which reaches 5 % in every fifth sweep."""


def relabelled(points: Points, first: dict[Unit, str], label: str) -> Points:
    """The runs of one label alone, named `label` where they are the first of their unit and `again` elsewhere."""
    kept = np.flatnonzero((points.label == label) & (points.grid == ""))
    block = [points.block[row] for row in kept]
    blocks = tuple(dict.fromkeys((family, sft_seed, "pair") for family, sft_seed, _ in block))
    return replace(
        points,
        block=tuple((family, sft_seed, "pair") for family, sft_seed, _ in block),
        label=np.array([label if first[family, sft_seed] == run else "again" for family, sft_seed, run in block]),
        **{name: getattr(points, name)[kept] for name in ("dose", "grid", "weight", "search", "report")},
        blocks=blocks,
    )


def ways_of(points: Points, label: str, most: int, seed: int = 0) -> list[dict[Unit, str]]:
    """Which run of every unit is the first, all ways or `most` of them at random.

    Raises:
        ValueError: a unit without two runs, or fewer than `LEAST` units.
    """
    runs: dict[Unit, list[str]] = {}
    for (family, sft_seed, run), name in zip(points.block, points.label, strict=True):
        if name == label and run not in runs.setdefault((family, sft_seed), []):
            runs[family, sft_seed].append(run)
    if any(len(found) != 2 for found in runs.values()):
        raise ValueError(f"every SFT seed must have two runs of {label}, got {sorted(map(len, runs.values()))}")
    if len(runs) < LEAST:
        raise ValueError(f"{len(runs)} SFT seeds are too few, {LEAST} are needed: one of few ways is often significant")
    if 2 ** len(runs) <= most:
        return [dict(zip(runs, picked, strict=True)) for picked in itertools.product(*runs.values())]
    rng = random.Random(seed)
    return [{unit: rng.choice(found) for unit, found in runs.items()} for _ in range(most)]


def verdicts_of(points: Points, question: Question, most: int) -> Counter[str]:
    """How often each verdict was given."""
    label = question.baseline.label
    asked = replace(question, contrasts=((Arm("again"), question.baseline),), runs=1)
    return Counter(
        str(line.verdict)
        for way in ways_of(points, label, most)
        for line in findings(relabelled(points, way, label), asked).lines
        if line.verdict is not None
    )


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sweep", type=Path, help="the sweep's folder")
    parser.add_argument("--ways", type=int, default=256)
    options = parser.parse_args(arguments)
    folder = SweepFolder(options.sweep.parent, options.sweep.name)
    question = question_of(folder.sweep()["resolved"])
    if question is None:
        parser.error(f"{options.sweep} was asked for no comparison")
    try:
        found = verdicts_of(points_of(folder, question, folder.trials()), question, options.ways)
    except ValueError as error:
        parser.error(str(error))
    if not found:
        parser.error("no verdict could be formed: there is no common range of tax")
    for verdict, count in sorted(found.items()):
        sys.stdout.write(f"{verdict}: {count} of {found.total()}\n")
    return int(found["better"] + found["worse"] > 0.05 * found.total())


if __name__ == "__main__":
    sys.exit(main())
