"""Are the headline's intervals and verdicts as sure as they say? Synthetic sweeps whose truth is known.

A run moves a displacement x away from the SFT model. Reward saturates in it, tax and KL grow with its square; an
offline merge of weight w lies at w x on the same curve. SFT seeds and training seeds bend a run's curves (in part both
arms' alike), every prompt and question bends each arm's, and every run errs on every item. In the null scenarios the
online arm only moves along the curve. `--json FILE` keeps the rows.
"""

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from omsweep.results.comparison.headline import Comparison, compare, judged
from omsweep.results.comparison.measures import Limits
from omsweep.results.comparison.points import Points, headline_pairs

Floats = NDArray[np.float64]

LABELS = ("adamw", "online")
WEIGHTS = (0.2, 0.4, 0.6, 0.8, 1.0)
CURVES = {"first": (0.9, 5.0, 12.0), "second": (0.7, 3.5, 9.0)}  # by family: reward at the end, tax and KL at x = 1
LIMITS = Limits(tax=4.0, kl=10.0, reference_tax=20.0)
ITEMS = {"search": (250, 1500), "report": (250, 1500)}  # prompts, tax items
GROUPS = 20


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """What is true of the online arm, and how large the effects are, as standard deviations of log curves."""

    name: str
    gain: float = 1.0  # factor on the online arm's reward
    reach: float = 1.0  # factor on its displacement
    shared_runs: bool = False  # training seeds and draws the same in all SFT seeds of a family, or their own
    sft_seed: float = 0.08  # of one arm; both arms' common effect is twice as large
    training_seed: float = 0.08
    displacement: float = 0.25  # drawn per run, the same for both arms
    matching: float = 0.05  # what matching learning rates misses
    item: float = 0.5  # of one arm on one item, relative to the curve
    reward_noise: float = 0.6  # per prompt, scorer units
    tax_noise: float = 30.0  # per tax item, points


SCENARIOS = (
    Scenario(name="null"),
    Scenario(name="null, training seeds shared", shared_runs=True),
    Scenario(name="null, SFT seeds matter most", sft_seed=0.2, training_seed=0.04),
    Scenario(name="null, SFT seeds do not matter", sft_seed=0.0, training_seed=0.15),
    Scenario(name="null, online moves 30 % less", reach=0.7),
    Scenario(name="gain of 30 %", gain=1.3),
)


def synthetic_points(
    scenario: Scenario, rng: np.random.Generator, *, sft_seeds: int = 3, runs: int = 5, exact_report: bool = False
) -> Points:
    """A sweep: families x SFT seeds x runs x two labels x (run and four merges).

    Args:
        scenario: the truth.
        rng: of everything drawn.
        sft_seeds: per family.
        runs: per SFT seed.
        exact_report: read the report split without item noise (of endlessly many items).
    """
    families, labels, weights = tuple(CURVES), len(LABELS), np.array(WEIGHTS)
    shape = (len(families), sft_seeds, runs, labels)
    seeded = (len(families), 1, runs) if scenario.shared_runs else shape[:3]

    def bent() -> Floats:
        """Log factor of a curve: SFT seed and training seed, each common to the arms and of one arm; [F, S, R, L]."""
        sft, run = scenario.sft_seed, scenario.training_seed
        common = 2 * sft * rng.normal(size=(*shape[:2], 1, 1)) + 2 * run * rng.normal(size=(*seeded, 1))
        own = sft * rng.normal(size=(*shape[:2], 1, labels)) + run * rng.normal(size=(*seeded, labels))
        return np.broadcast_to(common + own, shape)

    drawn = scenario.displacement * rng.normal(size=(*seeded, 1)) + scenario.matching * rng.normal(size=shape)
    moved = np.exp(drawn) * np.array([1.0, scenario.reach])
    x = moved[..., None] * weights  # [F, S, R, L, W]
    end, tax, kl = (np.array([CURVES[f][i] for f in families]).reshape(-1, 1, 1, 1, 1) for i in range(3))
    gain = np.array([1.0, scenario.gain])[:, None]
    curves = {
        "reward": end * gain * (1 - np.exp(-1.5 * x)) * np.exp(bent())[..., None],
        "tax": tax * x**2 * np.exp(bent())[..., None],
        "kl": kl * x**2 * np.exp(bent())[..., None],
    }
    search = _measured(curves, scenario, "search", rng)
    if exact_report:
        report = np.stack(list(curves.values()), axis=-1)[..., None, :]
    else:
        report = _measured(curves, scenario, "report", rng)
    where = [
        (f, str(s), str(r if scenario.shared_runs else s * runs + r), label, weight != 1.0)
        for f in families
        for s in range(sft_seeds)
        for r in range(runs)
        for label in LABELS
        for weight in WEIGHTS
    ]
    by_group = report.reshape(len(where), -1, 3)
    whole, groups = by_group.mean(axis=1), by_group.shape[1]
    without = (groups * whole[:, None] - by_group) / (groups - 1) if groups > 1 else by_group[:, :0]
    return Points(
        block=tuple(w[:3] for w in where),
        label=np.array([w[3] for w in where]),
        merged=np.array([w[4] for w in where]),
        search=search.reshape(len(where), -1, 3).mean(axis=1),
        report=whole,
        report_without=without,
    )


def _measured(curves: Mapping[str, Floats], scenario: Scenario, split: str, rng: np.random.Generator) -> Floats:
    """Means over each of G groups of a split's items, [F, S, R, L, W, G, 3]; a sum of normals is drawn at once."""
    prompts, tax_items = ITEMS[split]
    shape = curves["reward"].shape

    def noise(curve: Floats, items: int, scale: float) -> Floats:
        spread = np.sqrt(GROUPS / items)
        bend = 1 + scenario.item * spread * rng.normal(size=(1, 1, 1, len(LABELS), 1, GROUPS))
        path = rng.normal(size=(*shape[:4], 1, GROUPS)) * np.array(WEIGHTS)[:, None]  # merges err with their run
        own = 0.3 * rng.normal(size=(*shape, GROUPS))
        return curve[..., None] * bend + scale * spread * (path + own)

    reward = noise(curves["reward"], prompts, scenario.reward_noise)
    tax = noise(curves["tax"], tax_items, scenario.tax_noise)
    return np.stack([reward, tax, noise(curves["kl"], prompts, 1.0)], axis=-1)


def report_of(points: Points) -> list[Comparison]:
    """Everything a report of this sweep would print, with verdicts."""
    return judged(compare(points, headline_pairs("online"), LIMITS))


def true_differences(scenario: Scenario, *, sweeps: int, seed: int = 1) -> Floats:
    """The estimands, [m]: what choosing on a finite search split yields on endlessly many items and seeds.

    Exactly 0 where the two arms are drawn alike and have equally many candidates.
    """
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(sweeps):
        points = synthetic_points(scenario, rng, sft_seeds=20, runs=2, exact_report=True)
        lines = compare(points, headline_pairs("online"), LIMITS)
        found.append([line.estimate.value for line in lines])
    alike = [scenario.gain == scenario.reach == 1.0 and line.candidates[0] == line.candidates[1] for line in lines]
    return np.where(alike, 0.0, np.mean(found, axis=0))


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """Repeated reports of m lines: the lines of the last, and per report and line [repeats, m] what became of it."""

    lines: list[Comparison]
    truth: Floats
    covered: NDArray[np.bool_]  # whether the 90 % interval holds the truth
    better: NDArray[np.bool_]
    worse: NDArray[np.bool_]
    values: Floats

    def false_better(self, repeats: int) -> int:
        """Of the first `repeats` reports, those with a `better` where the truth is not above 0."""
        return int((self.better & (self.truth <= 0))[:repeats].any(axis=1).sum())

    def false_worse(self, repeats: int) -> int:
        """Of the first `repeats` reports, those with a `worse` where the truth is not below 0."""
        return int((self.worse & (self.truth >= 0))[:repeats].any(axis=1).sum())


def calibrate(scenario: Scenario, *, repeats: int, truth: Floats, seed: int = 0) -> Calibration:
    """Draw the sweep `repeats` times; `truth` [m] in the order of the report's lines."""
    rng = np.random.default_rng([seed, *scenario.name.encode()])
    reports = [report_of(synthetic_points(scenario, rng)) for _ in range(repeats)]
    low, high = np.moveaxis(np.array([[line.estimate.interval(0.9) for line in lines] for lines in reports]), -1, 0)
    verdict = np.array([[line.verdict for line in lines] for lines in reports])
    return Calibration(
        lines=reports[-1],
        truth=truth,
        covered=(low <= truth) & (truth <= high),
        better=verdict == "better",
        worse=verdict == "worse",
        values=np.array([[line.estimate.value for line in lines] for lines in reports]),
    )


def summary(name: str, found: Calibration, repeats: int) -> str:
    """A row of the first table: coverage over all lines, of the least and the most covered one, and false verdicts."""
    coverage = 100 * found.covered[:repeats].mean(axis=0)
    return (
        f"| {name} | {repeats} | {coverage.mean():.1f} % | {coverage.min():.1f}-{coverage.max():.1f} % "
        f"| {found.false_better(repeats)} | {found.false_worse(repeats)} |"
    )


def details(name: str, found: Calibration) -> list[dict[str, str | float]]:
    """One row per line of the report."""
    return [
        {
            "scenario": name,
            "measure": line.measure,
            "family": line.family,
            "comparison": f"({line.arm}) - ({line.against})",
            "truth": float(found.truth[i]),
            "bias": float(found.values[:, i].mean() - found.truth[i]),
            "sd": float(found.values[:, i].std()),
            "coverage": float(found.covered[:, i].mean()),
            "better": float(found.better[:, i].mean()),
            "worse": float(found.worse[:, i].mean()),
        }
        for i, line in enumerate(found.lines)
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=200)
    parser.add_argument("--truth-sweeps", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    where = f"{platform.processor() or platform.machine()}, {os.cpu_count()} CPUs, Python {platform.python_version()}"
    date = datetime.now(UTC).date().isoformat()
    started, rows = time.perf_counter(), []
    sys.stdout.write(f"{date}  {where}  seed {options.seed}\n")
    sys.stdout.write("| scenario | reports | covered | by line | false better | false worse |\n|" + "---|" * 6 + "\n")
    for scenario in SCENARIOS:
        truth = true_differences(scenario, sweeps=options.truth_sweeps)
        found = calibrate(scenario, repeats=options.repeats, truth=truth, seed=options.seed)
        for repeats in sorted({min(200, options.repeats), options.repeats}):
            sys.stdout.write(summary(scenario.name, found, repeats) + "\n")
        sys.stdout.flush()
        rows += details(scenario.name, found)
    columns = list(rows[0])
    sys.stdout.write("\n| " + " | ".join(columns) + " |\n|" + "---|" * len(columns) + "\n")
    for row in rows:
        cells = [f"{value:+.4f}" if i in (4, 5, 6) else str(value) for i, value in enumerate(row.values())]
        sys.stdout.write("| " + " | ".join(cells) + " |\n")
    sys.stdout.write(f"{time.perf_counter() - started:.0f} s\n")
    if options.json:
        options.json.write_text(json.dumps({"date": date, "environment": where, "rows": rows}, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
