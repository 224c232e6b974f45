"""How much SFT seeds, training seeds and items each contribute to a paired difference: variance components by ANOVA."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike


@dataclass(frozen=True, kw_only=True)
class VarianceComponents:
    """Variances of d = mean + A(SFT seed) + B(training seed in it) + C(item) + residual, in the squared unit of d.

    Args:
        sft_seed: of A; NaN where there was one SFT seed.
        training_seed: of B; NaN where no SFT seed had two runs.
        item: of C, what an item does in every run.
        residual: of one item in one run.
    """

    sft_seed: float
    training_seed: float
    item: float = 0.0
    residual: float = 0.0


def variance_components(differences: ArrayLike, sft_seed: ArrayLike) -> VarianceComponents:
    """Unbiased mean-square estimates, cut off at 0, of a table of runs by items.

    Expected mean squares, R runs in S SFT seeds (n_s in each), n items, k = (R - sum n_s^2 / R) / (S - 1):

        residual: e      item: e + R C      training seed: e + n B      SFT seed: e + n B + n k A

    (Searle, Casella and McCulloch, "Variance Components", 1992; unequal n_s as in their nested classification.)

    Args:
        differences: [R, n], one row per run, one column per item, the same items in every run; n = 1 leaves items and
            residual in the training seeds' component.
        sft_seed: [R] labels.

    Raises:
        ValueError: shapes that differ, NaN, or fewer than two runs.
    """
    table, labels = np.asarray(differences, dtype=np.float64), np.asarray(sft_seed)
    if table.ndim != 2 or len(table) < 2 or not np.isfinite(table).all():
        raise ValueError(f"differences must be finite, of shape [R, n] with R at least 2, got {list(table.shape)}")
    if labels.shape != (len(table),):
        raise ValueError(f"sft_seed must have shape [{len(table)}], got {list(labels.shape)}")
    runs, items = table.shape
    _, unit, size = np.unique(labels, return_inverse=True, return_counts=True)
    seeds, mean = len(size), table.mean()
    by_run, by_item = table.mean(axis=1), table.mean(axis=0)
    by_sft = np.bincount(unit, weights=by_run) / size
    residual = _mean_square(((table - by_run[:, None] - by_item + mean) ** 2).sum(), (runs - 1) * (items - 1))
    of_items = _mean_square(runs * ((by_item - mean) ** 2).sum(), items - 1)
    of_runs = _mean_square(items * ((by_run - by_sft[unit]) ** 2).sum(), runs - seeds)
    of_sft = _mean_square(items * (size * (by_sft - mean) ** 2).sum(), seeds - 1)
    noise = 0.0 if items == 1 else residual
    below = noise if runs == seeds else of_runs
    share = (runs - float((size**2).sum()) / runs) / (seeds - 1) if seeds > 1 else math.nan
    return VarianceComponents(
        sft_seed=_cut((of_sft - below) / (items * share)),
        training_seed=_cut((of_runs - noise) / items),
        item=0.0 if items == 1 else _cut((of_items - residual) / runs),
        residual=noise,
    )


def _mean_square(squares: float, freedom: int) -> float:
    return float(squares) / freedom if freedom > 0 else math.nan


def _cut(variance: float) -> float:
    return variance if math.isnan(variance) else max(0.0, variance)
