"""Recompute a comparison from its table of policies with numpy alone: nothing of omsweep, of scipy or of pandas.

    python benchmarks/recompute.py PART.parquet ... --contrast ondare adamw --tax-limit tiny-llama=8 tiny-qwen2=3

The tables are those of `benchmarks/policies.py`, one or several parts of a sweep. Areas are computed by this file's own
interpolation. How sure they are is found in another way than in the report: by the scatter of the SFT seeds' means
alone, and by a test that flips the signs of whole SFT seeds. Values must agree with the report's to the last digit;
standard errors and p-values agree in size, for they are other estimates of the same.
"""

import argparse
import itertools
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet

STEPS, FINE = 50, 200
REWARD, TAX = 0, 1
MOST_FLIPS = 1 << 14
Table = dict[str, Any]
"""Columns `family, sft_seed, run, label, grid` (texts), `dose, weight` [N], `search, report` [N, 2]: reward, tax."""
Curve = list[tuple[np.ndarray, np.ndarray, np.ndarray]]
"""Paths: positions [K], readings of the search split [K, 2], of the report split by block [B, K, 2]; SFT first."""


def read(files: Sequence[Path]) -> Table:
    """The parts' policies in one table."""
    parts = [pyarrow.parquet.read_table(file).to_pydict() for file in files]
    table = {name: np.array([value for part in parts for value in part[name]]) for name in parts[0]}
    for split in ("search", "report"):
        table[split] = np.stack([table.pop(f"{split}_reward"), table.pop(f"{split}_tax")], axis=1)
    return table


def blocks_of(table: Table, family: str) -> list[tuple[str, str]]:
    """(SFT seed, run) of a family, in order."""
    mine = table["family"] == family
    return list(dict.fromkeys(zip(table["sft_seed"][mine].tolist(), table["run"][mine].tolist(), strict=True)))


def block_weights(blocks: Sequence[tuple[str, str]]) -> np.ndarray:
    """SFT seeds weigh alike, and runs alike in each."""
    seeds = [seed for seed, _ in blocks]
    return np.array([1 / (len(set(seeds)) * seeds.count(seed)) for seed in seeds])


def curve(table: Table, family: str, arm: str, weights: np.ndarray) -> Curve:
    """The paths of an arm, `LABEL` or `LABEL + GRID`: its ladder, and the ways back to the SFT model."""
    label, _, grid = arm.partition(" + ")
    blocks = {block: number for number, block in enumerate(blocks_of(table, family))}
    mine = (table["family"] == family) & (table["label"] == label)
    shifted = bool(grid) and bool(np.isnan(table["weight"][mine & (table["grid"] == grid)]).any())
    mine &= (table["grid"] == grid) | ((table["grid"] == "") & (not shifted))
    by_key: dict[tuple[float, float], dict[int, int]] = {}
    for row in np.flatnonzero(mine):
        key = float(table["dose"][row]), 1.0 if shifted else float(table["weight"][row])
        by_key.setdefault(key, {})[blocks[table["sft_seed"][row], table["run"][row]]] = int(row)
    doses = set(table["dose"].tolist())
    lost = [dose for (dose, _), rows in by_key.items() if len(rows) < len(blocks)]
    lost += [dose for dose in doses if all(dose != of_arm for of_arm, _ in by_key)]
    keys = sorted(key for key in by_key if key[0] < min(lost, default=np.inf))
    ladders = [[(dose, dose, w) for dose, w in keys if w == 1.0]]
    ladders += [[(w, d, w) for d, w in keys if d == dose] for dose in dict.fromkeys(d for d, _ in keys)]
    paths = []
    for ladder in (ladder for number, ladder in enumerate(ladders) if number == 0 or len(ladder) > 1):
        rows = np.array([[by_key[dose, w][b] for _, dose, w in ladder] for b in range(len(blocks))])
        origin = np.zeros((len(blocks), 1, 2))
        search, report = (np.concatenate([origin, table[name][rows]], axis=1) for name in ("search", "report"))
        positions = np.array([0.0, *(position for position, _, _ in ladder)])
        paths.append((positions, np.tensordot(weights, search, axes=1), report))
    return paths


def rising(values: np.ndarray) -> np.ndarray:
    """The nearest values [K] that never fall (pool adjacent violators)."""
    pools: list[list[float]] = []
    for value in values:
        pools.append([value, 1])
        while len(pools) > 1 and pools[-2][0] >= pools[-1][0]:
            (last, n), (before, m) = pools.pop(), pools.pop()
            pools.append([(last * n + before * m) / (n + m), n + m])
    return np.array([value for value, count in pools for _ in range(int(count))])


def pchip(x: np.ndarray, y: np.ndarray, at: np.ndarray) -> np.ndarray:
    """The cubic through (x [K], y [..., K]) that does not overshoot (Fritsch and Butland 1984), at places [J]."""
    h, slope = np.diff(x), np.diff(y) / np.diff(x)
    if len(x) == 2:
        return y[..., :1] + slope * (at - x[0])
    tangent = np.zeros_like(y)
    left, right = slope[..., :-1], slope[..., 1:]
    w1, w2 = 2 * h[1:] + h[:-1], h[1:] + 2 * h[:-1]
    same = left * right > 0
    safe_left, safe_right = np.where(same, left, 1.0), np.where(same, right, 1.0)
    tangent[..., 1:-1] = np.where(same, (w1 + w2) / (w1 / safe_left + w2 / safe_right), 0.0)
    tangent[..., 0] = _end(h[0], h[1], slope[..., 0], slope[..., 1])
    tangent[..., -1] = _end(h[-1], h[-2], slope[..., -1], slope[..., -2])
    i = np.clip(np.searchsorted(x, at, side="right") - 1, 0, len(h) - 1)
    t = (at - x[i]) / h[i]
    return (
        (1 + 2 * t) * (1 - t) ** 2 * y[..., i]
        + t * (1 - t) ** 2 * h[i] * tangent[..., i]
        + t**2 * (3 - 2 * t) * y[..., i + 1]
        + t**2 * (t - 1) * h[i] * tangent[..., i + 1]
    )


def _end(h0: float, h1: float, s0: np.ndarray, s1: np.ndarray) -> np.ndarray:
    """The tangent at an end: of the parabola through three points, held back where it would overshoot."""
    tangent = ((2 * h0 + h1) * s0 - h0 * s1) / (h0 + h1)
    tangent = np.where(np.sign(tangent) != np.sign(s0), 0.0, tangent)
    return np.where((np.sign(s0) != np.sign(s1)) & (np.abs(tangent) > 3 * np.abs(s0)), 3 * s0, tangent)


def reach(paths: Curve) -> float:
    """The largest tax of the search split that some path attains."""
    return max(float(rising(search[:, TAX])[-1]) for _, search, _ in paths)


def area(paths: Curve, limit: float) -> np.ndarray:
    """Area between curve and tax = limit by block [B], on the report split, at places chosen on the search split."""
    levels = limit * np.arange(STEPS + 1) / STEPS
    best = np.full(len(levels), -np.inf)
    read = np.zeros((len(paths[0][2]), len(levels), 2))
    for x, search, report in paths:
        fine = np.linspace(0.0, x[-1], FINE + 1)
        tax = pchip(x, rising(search[:, TAX]), fine)
        last = np.append(np.diff(tax) > 0, True)
        places = np.interp(np.minimum(levels, tax[-1]), tax[last], fine[last])
        worth = np.where(levels <= tax[-1] * (1 + 1e-9), pchip(x, search[:, REWARD], places), -np.inf)
        here = worth > best
        found = np.stack([pchip(x, report[..., column], places) for column in (REWARD, TAX)], axis=2)
        read[:, here], best[here] = found[:, here], worth[here]
    read = np.concatenate([np.zeros_like(read[:, :1]), read], axis=1)
    width = limit - (read[:, 1:, TAX] + read[:, :-1, TAX]) / 2
    return (width * np.diff(read[..., REWARD], axis=1)).sum(axis=1)


def shares(table: Table, family: str, pair: Sequence[str], baseline: str, limit: float) -> tuple[np.ndarray, float]:
    """By block [B] the first arm's area minus the second's in shares of the baseline's mean area, and the common t."""
    weights = block_weights(blocks_of(table, family))
    curves = [curve(table, family, arm, weights) for arm in (*pair, baseline)]
    common = min(limit, *map(reach, curves))
    first, second, unit = (area(one, common) for one in curves)
    mean = float(weights @ unit)
    ratio = float(weights @ (first - second)) / mean
    return ratio + (first - second - ratio * unit) / mean, common


def recomputed(table: Table, pair: Sequence[str], baseline: str, limits: dict[str, float]) -> dict[str, float]:
    """`value`, `standard_error` and `p` of a contrast over all families."""
    seeds: list[np.ndarray] = []
    for family, limit in limits.items():
        blocks = blocks_of(table, family)
        values, _ = shares(table, family, pair, baseline, limit)
        names = list(dict.fromkeys(seed for seed, _ in blocks))
        seeds.append(np.array([values[[seed == name for seed, _ in blocks]].mean() for name in names]))
    value = float(np.mean([of_family.mean() for of_family in seeds]))
    variance = sum(of_family.var(ddof=1) / len(of_family) for of_family in seeds) / len(seeds) ** 2
    scaled = np.concatenate([of_family / len(of_family) for of_family in seeds]) / len(seeds)
    return {"value": value, "standard_error": float(np.sqrt(variance)), "p": sign_flip(scaled)}


def sign_flip(values: np.ndarray) -> float:
    """Share of all ways to flip signs of `values` [M] (or of many at random) whose sum is as far from 0 as theirs."""
    if 2 ** len(values) <= MOST_FLIPS:
        signs = np.array(list(itertools.product((1.0, -1.0), repeat=len(values))))
    else:
        signs = np.random.default_rng(0).choice((1.0, -1.0), size=(MOST_FLIPS, len(values)))
        signs[0] = 1.0
    return float((np.abs(signs @ values) >= abs(values.sum()) * (1 - 1e-12)).mean())


def holm(p: Sequence[float]) -> list[float]:
    """Adjusted p-values of Holm's procedure, in the order of `p`."""
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(np.array(p)[order] * np.arange(len(p), 0, -1)).clip(max=1.0)
    return stepped[np.argsort(order, kind="stable")].tolist()


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", type=Path, nargs="+")
    parser.add_argument("--contrast", nargs=2, action="append", required=True, metavar=("ARM", "AGAINST"))
    parser.add_argument("--tax-limit", nargs="+", required=True, metavar="FAMILY=T")
    parser.add_argument("--baseline", default="adamw")
    options = parser.parse_args(arguments)
    table = read(options.parts)
    limits = {name: float(t) for name, _, t in (text.rpartition("=") for text in options.tax_limit)}
    found = [recomputed(table, pair, options.baseline, limits) for pair in options.contrast]
    sys.stdout.write("contrast | area | standard error | p | Holm's p\n")
    for pair, one, adjusted in zip(options.contrast, found, holm([one["p"] for one in found]), strict=True):
        numbers = f"{one['value']:+.4f} | {one['standard_error']:.4f} | {one['p']:.4f} | {adjusted:.4f}"
        sys.stdout.write(f"{pair[0]} - {pair[1]} | {numbers}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
