"""Are the comparison's intervals and verdicts as sure as they say? Synthetic sweeps whose truth is known.

A run at dose d ends at x = d: reward saturates in x, tax and KL grow with its square; a merge of weight w on the way
back to the SFT model lies at w x. SFT seeds and training seeds bend a run's curves, in part all arms' alike; every
prompt and question bends each arm's; every run errs on every item. In the null scenarios no arm differs but for how far
along the curve it moves at a dose. `--json FILE` keeps the rows.
"""

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta

from omsweep.results.comparison.contrasts import ALL_FAMILIES, PRIMARY, Line
from omsweep.results.comparison.findings import findings
from omsweep.results.comparison.points import Points
from omsweep.results.comparison.question import Question, arm_of

Floats = NDArray[np.float64]

LADDER = (0.5, 1.0, 2.0, 4.0)
WEIGHTS = (0.2, 0.4, 0.6, 0.8)
ARMS = ("adamw", "ondare", "onties", "childtuning", "released", "shuffled")
PATHS = ("adamw", "ondare")
CURVES = {"first": (0.77, 10.0, 6.0), "second": (0.77, 5.0, 6.0)}  # by family: reward at the end, tax and KL at x = 1
ITEMS = (160, 1750)  # prompts and tax items of a split
GROUPS = 20
QUESTION = Question(
    contrasts=tuple(
        (arm_of(first), arm_of(second))
        for first, second in (
            ("ondare", "adamw"),
            ("onties", "adamw"),
            ("ondare + path", "adamw + path"),
            ("ondare", "adamw + shift"),
            ("ondare", "childtuning"),
            ("released", "shuffled"),
        )
    ),
    baseline=arm_of("adamw"),
    tax_limit={"first": 10.0, "second": 5.0},
    delta=0.1,
    ladder=LADDER,
    grids={},
    families=tuple(CURVES),
    sft_seeds=10,
    runs=2,
    missing=(),
)


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """What is true of the arms, and how large the effects are, as standard deviations of log curves.

    `gains` are factors on an arm's reward, `reach` on how far it moves at a dose. Curves, items and the sizes of the
    scatter are those of the tiny families, where AdamW gained .6 at tax 10 and 5, and the best of a grid of merges
    differed between two arms by 4 % of the reward from SFT seed to SFT seed, by 9 % from training seed to training
    seed, by 1 % by items in all runs alike and by 3 % by items in one run (question_tiny_cpu_2026-11-27.md). A tax item
    is right or wrong: its variance grows with the tax.
    """

    name: str
    gains: Mapping[str, float]
    reach: Mapping[str, float]
    sft_seed: float = 0.03  # of one arm; all arms' common effect is twice as large
    training_seed: float = 0.06
    moved: float = 0.10  # drawn per run and arm
    item: float = 0.06  # of one arm on one item, relative to the curve
    reward_noise: float = 0.2  # per prompt, scorer units
    redrawn: float = 0.01  # share of tax items whose answer differs without any tax


REACH = {"ondare": 1.1, "onties": 1.25, "released": 1.3, "shuffled": 1.3}
NULL = Scenario(name="null", gains={}, reach=REACH)
SCENARIOS = (
    NULL,
    replace(NULL, name="null, SFT seeds matter most", sft_seed=0.08, training_seed=0.03),
    replace(NULL, name="null, SFT seeds do not matter", sft_seed=0.0, training_seed=0.1),
    replace(NULL, name="null, noisy items", reward_noise=0.6, redrawn=0.05, item=0.3),
    replace(NULL, name="beyond delta: two arms 12 % better", gains={"ondare": 1.12, "onties": 1.12}),
    replace(NULL, name="ondare 10 % better", gains={"ondare": 1.1}),
    replace(NULL, name="ondare 20 % better", gains={"ondare": 1.2}),
)


def synthetic_points(
    scenario: Scenario, rng: np.random.Generator, *, sft_seeds: int = 10, runs: int = 2, exact: bool = False
) -> Points:
    """A sweep: families x SFT seeds x runs x arms x doses, with merges and shifts of some.

    Args:
        scenario: the truth.
        rng: of everything drawn.
        sft_seeds: per family.
        runs: per SFT seed.
        exact: read both splits without item noise (of endlessly many items).
    """
    rows = [(arm, "", dose, 1.0) for arm in ARMS for dose in LADDER]
    rows += [(arm, "path", dose, weight) for arm in PATHS for dose in LADDER for weight in WEIGHTS]
    rows += [("adamw", "shift", dose, np.nan) for dose in LADDER]
    families, arms = tuple(CURVES), len(ARMS)
    shape = (len(families), sft_seeds, runs, arms)

    def bent() -> Floats:
        """Log factor of a curve: SFT seed and training seed, each common to the arms and of one arm; [F, S, R, A]."""
        sft, run = scenario.sft_seed, scenario.training_seed
        common = 2 * sft * rng.normal(size=(*shape[:2], 1, 1)) + 2 * run * rng.normal(size=(*shape[:3], 1))
        own = sft * rng.normal(size=(*shape[:2], 1, arms)) + run * rng.normal(size=shape)
        return np.asarray(common + own)

    arm = np.array([ARMS.index(row[0]) for row in rows])
    place = np.array([dose * (1.0 if np.isnan(weight) else weight) for _, _, dose, weight in rows]) / 2
    reach = np.array([scenario.reach.get(name, 1.0) for name in ARMS])
    gain = np.array([scenario.gains.get(name, 1.0) for name in ARMS])
    moved = reach * np.exp(scenario.moved * rng.normal(size=shape))
    x = moved[..., arm] * place  # [F, S, R, K]
    end, tax, kl = (np.array([CURVES[f][i] for f in families]).reshape(-1, 1, 1, 1) for i in range(3))
    curves = np.stack(
        [
            end * gain[arm] * (1 - np.exp(-1.5 * x)) * np.exp(bent())[..., arm],
            tax * x**2 * np.exp(bent())[..., arm],
            kl * x**2 * np.exp(bent())[..., arm],
        ],
        axis=-1,
    )
    if exact:
        search = report = curves[:, :, :, :, None]
    else:
        search, report = (_measured(curves, arm, scenario, rng) for _ in range(2))
    by_group = report.reshape(-1, report.shape[4], 3)
    whole, groups = by_group.mean(axis=1, keepdims=True), by_group.shape[1]
    without = (groups * whole - by_group) / (groups - 1) if groups > 1 else by_group[:, :0]
    blocks = [(f, str(s), str(s * runs + r)) for f in families for s in range(sft_seeds) for r in range(runs)]
    return Points(
        block=tuple(block for block in blocks for _ in rows),
        label=np.array([row[0] for row in rows] * len(blocks)),
        dose=np.array([row[2] for row in rows] * len(blocks)),
        grid=np.array([row[1] for row in rows] * len(blocks)),
        weight=np.array([row[3] for row in rows] * len(blocks)),
        search=search.reshape(-1, search.shape[4], 3).mean(axis=1),
        report=np.concatenate([whole, without], axis=1),
        blocks=tuple(blocks),
    )


def _measured(curves: Floats, arm: NDArray[np.int64], scenario: Scenario, rng: np.random.Generator) -> Floats:
    """Means over each of G groups of a split's items, [F, S, R, K, G, 3]; a sum of normals is drawn at once."""
    (prompts, tax_items), shape = ITEMS, curves.shape[:-1]

    def noise(curve: Floats, items: int, scale: float | Floats) -> Floats:
        spread = np.sqrt(GROUPS / items)
        bend = 1 + scenario.item * spread * rng.normal(size=(1, 1, 1, len(ARMS), GROUPS))[..., arm, :]
        run = rng.normal(size=(*shape[:3], len(ARMS), GROUPS))[..., arm, :]  # an arm's doses err in part alike
        return curve[..., None] * bend + scale * spread * (0.7 * run + 0.7 * rng.normal(size=(*shape, GROUPS)))

    reward, tax, kl = np.moveaxis(curves, -1, 0)
    flips = 100 * np.sqrt(np.clip(tax / 100, 0, 0.5) + scenario.redrawn)[..., None]  # sd of a paired item, points
    found = [noise(reward, prompts, scenario.reward_noise), noise(tax, tax_items, flips), noise(kl, prompts, 1.0)]
    return np.stack(found, axis=-1)


def report_of(points: Points) -> list[Line]:
    """Everything a report of this sweep would print, with verdicts."""
    return list(findings(points, QUESTION).lines)


def judged_of(lines: list[Line]) -> list[Line]:
    """The lines of the six contrasts that have verdicts."""
    return [line for line in lines if (line.measure, line.family) == (PRIMARY, ALL_FAMILIES)]


def true_differences(scenario: Scenario, *, sweeps: int, seed: int = 1) -> dict[tuple[str, str, str, str], float]:
    """The estimands: what endlessly many seeds and items yield, by measure, family, arm and against.

    Of the area over all families exactly 0 where both arms are drawn alike.
    """
    rng = np.random.default_rng(seed)
    found: dict[tuple[str, str, str, str], list[float]] = {}
    for _ in range(sweeps):
        for line in report_of(synthetic_points(scenario, rng, sft_seeds=40, runs=2, exact=True)):
            found.setdefault(_key(line), []).append(line.estimate.value)
    alike = lambda name: (scenario.gains.get(name.split()[0], 1.0), scenario.reach.get(name.split()[0], 1.0))  # noqa: E731
    return {
        key: 0.0 if key[0] == PRIMARY and alike(key[2]) == alike(key[3]) else float(np.mean(values))
        for key, values in found.items()
    }


def _key(line: Line) -> tuple[str, str, str, str]:
    return line.measure, line.family, line.arm, line.against


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """Repeated reports: by line whether its 90 % interval holds the truth, and the verdicts of the six contrasts."""

    covered: Mapping[tuple[str, str, str, str], float]
    false: int  # reports with any false verdict
    verdicts: Mapping[str, Mapping[str, float]]  # by contrast, share of reports by verdict
    truth: Mapping[str, float]
    repeats: int

    @property
    def upper(self) -> float:
        """Upper 95 % bound (Clopper-Pearson) of the share of reports with a false verdict."""
        return 1.0 if self.false == self.repeats else float(beta.ppf(0.95, self.false + 1, self.repeats - self.false))


def calibrate(
    scenario: Scenario, *, repeats: int, truth: Mapping[tuple[str, str, str, str], float], seed: int = 0
) -> Calibration:
    """Draw the sweep `repeats` times; a verdict is false where the truth contradicts it.

    A true difference below what a tenth of delta changes counts as 0: no arms are drawn to differ by so little.
    """
    rng = np.random.default_rng([seed, *scenario.name.encode()])
    covered: dict[tuple[str, str, str, str], list[bool]] = {}
    verdicts: dict[str, list[str]] = {}
    truths: dict[str, float] = {}
    false = 0
    for _ in range(repeats):
        lines = report_of(synthetic_points(scenario, rng))
        for line in lines:
            low, high = line.estimate.interval(0.9)
            covered.setdefault(_key(line), []).append(low <= truth[_key(line)] <= high)
        wrong = False
        for line in judged_of(lines):
            name, real = f"{line.arm} - {line.against}", truth[_key(line)]
            truths[name] = real
            verdicts.setdefault(name, []).append(str(line.verdict))
            wrong |= is_false(str(line.verdict), real)
        false += wrong
    return Calibration(
        covered={key: float(np.mean(held)) for key, held in covered.items()},
        false=false,
        verdicts={
            name: {kind: each.count(kind) / repeats for kind in ("better", "worse", "equivalent", "not shown")}
            for name, each in verdicts.items()
        },
        truth=truths,
        repeats=repeats,
    )


def is_false(verdict: str, truth: float) -> bool:
    """Whether a verdict contradicts the truth."""
    no_difference = abs(truth) < QUESTION.delta / 10
    return {
        "better": truth <= 0 or no_difference,
        "worse": truth >= 0 or no_difference,
        "equivalent": abs(truth) >= QUESTION.delta,
        "not shown": False,
    }[verdict]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=286)
    parser.add_argument("--truth-sweeps", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--scenarios", nargs="*", choices=[scenario.name for scenario in SCENARIOS], help="default all")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    where = f"{platform.processor() or platform.machine()}, {os.cpu_count()} CPUs, Python {platform.python_version()}"
    date = datetime.now(UTC).date().isoformat()
    started, rows = time.perf_counter(), []
    sys.stdout.write(f"{date}  {where}  seed {options.seed}\n")
    head = "| scenario | reports | false verdicts | upper 95 % | area covered | all lines covered | by line |\n"
    sys.stdout.write(head + "|" + "---|" * 7 + "\n")
    total = wrong = 0
    for scenario in SCENARIOS:
        if options.scenarios and scenario.name not in options.scenarios:
            continue
        truth = true_differences(scenario, sweeps=options.truth_sweeps)
        found = calibrate(scenario, repeats=options.repeats, truth=truth, seed=options.seed)
        every = 100 * np.array(list(found.covered.values()))
        areas = 100 * np.array([c for k, c in found.covered.items() if k[:2] == (PRIMARY, ALL_FAMILIES)])
        sys.stdout.write(
            f"| {scenario.name} | {found.repeats} | {found.false} | {100 * found.upper:.1f} % | {areas.mean():.1f} % "
            f"| {every.mean():.1f} % | {every.min():.1f}-{every.max():.1f} % |\n"
        )
        sys.stdout.flush()
        total, wrong = total + found.repeats, wrong + found.false
        rows += [
            {"scenario": scenario.name, "contrast": name, "truth": found.truth[name], **shares}
            for name, shares in found.verdicts.items()
        ]
    upper = float(beta.ppf(0.95, wrong + 1, total - wrong))
    sys.stdout.write(f"| all | {total} | {wrong} | {100 * upper:.1f} % | | | |\n")
    columns = list(rows[0])
    sys.stdout.write("\n| " + " | ".join(columns) + " |\n|" + "---|" * len(columns) + "\n")
    for row in rows:
        cells = [f"{value:+.3f}" if name == "truth" else str(value) for name, value in row.items()]
        sys.stdout.write("| " + " | ".join(cells) + " |\n")
    sys.stdout.write(f"{time.perf_counter() - started:.0f} s\n")
    if options.json:
        options.json.write_text(json.dumps({"date": date, "environment": where, "rows": rows}, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
