"""The mean of differences that come in clusters (SFT seeds, training seeds in them, items across them).

For differences d with weights w that sum to 1, and residuals u = w (d - mean of d's stratum), a factor with G clusters
adds

    V = G / (G - 1) x sum over clusters of (sum of the cluster's u)^2,   G - 1 degrees of freedom

which for equal weights and the outermost factor alone is the textbook variance of a mean of G cluster means. A factor
nested in one already counted adds nothing: its scatter lies in the outer clusters' means. A factor crossed with the
outermost adds what that one has not counted, V - I >= 0, with I the mean square of their interaction where the crossing
is complete and 0 where it is not (then on the safe side). Degrees of freedom combine by Satterthwaite (1946); two-way
clustering as in Cameron, Gelbach and Miller (2011), with unbiased mean squares in place of their large-sample terms.
"""

from collections.abc import Hashable, Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from omsweep.results.comparison.estimate import Estimate, Part, satterthwaite
from omsweep.results.comparison.points import Block, Floats

Codes = NDArray[np.int64]


def clustered_mean(
    values: ArrayLike,
    factors: Mapping[str, ArrayLike],
    *,
    strata: ArrayLike | None = None,
) -> Estimate:
    """Mean of differences and its standard error over clusters.

    Every stratum weighs alike, then every cluster of the first factor in it, then of the second, and so on.

    Args:
        values: [N] differences, for example one per run and item.
        factors: name -> [N] labels, outermost first, for example `sft_seed`, `run`, `item`. A factor with fewer than
            two clusters in a stratum says nothing and is passed over; the first that is left is the outermost. One
            that some strata repeat and others do not cannot be passed over for an inner one, which would take its
            scatter for nothing: then the estimate has no parts.
        strata: [N] labels of what is fixed (families, tasks): residuals are taken from each one's mean. Labels of the
            factors are shared by strata where they are equal; make them differ where they are not the same thing.

    Returns:
        The estimate, in the unit of `values`, with one part per factor that counts; without any when none is repeated.

    Raises:
        ValueError: shapes that differ, no value, no factor, or NaN among the values.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or len(array) == 0 or not np.isfinite(array).all():
        raise ValueError(f"values must be finite numbers of shape [N], N at least 1, got shape {list(array.shape)}")
    if not factors:
        raise ValueError("factors must name at least one factor, got none")
    codes = {name: _codes(labels, len(array), name) for name, labels in factors.items()}
    stratum = np.zeros(len(array), dtype=np.int64) if strata is None else _codes(strata, len(array), "strata")
    share = nested_weights([stratum, *codes.values()])
    means = np.bincount(stratum, weights=share * array) / np.bincount(stratum, weights=share)
    residual = share * (array - means[stratum])
    kept = _counted(codes, stratum)
    mean = float(share @ array)
    if not kept:
        return Estimate(value=mean, parts=(), outermost=None, units=0)
    outer, *others = kept
    parts = [_variance(residual, codes[outer], stratum)]
    for name in others:
        variance, freedom = _variance(residual, codes[name], stratum)
        counted = _interaction(residual, codes[outer], codes[name], stratum)
        parts.append((max(0.0, variance - counted), freedom))
    return Estimate(value=mean, parts=tuple(parts), outermost=outer, units=int(codes[outer].max()) + 1)


def block_mean(values: ArrayLike, blocks: Sequence[Block]) -> Estimate:
    """Mean over families of the mean over SFT seeds of the mean over runs, with clusters of all three and of items.

    Of a block's readings f, of all items and without each of G groups, the pseudo-values G f - (G - 1) f(without g)
    stand for the groups (delete-a-group jackknife, Kott 2001; of a mean they are the groups' own means). They are
    shifted so that their mean is f, and items count as a factor crossed with the seeds, met by all families alike.

    Args:
        values: [B, 1 + G] readings, of all items first; G = 0 or at least 2.
        blocks: their B blocks; equal run labels in two SFT seeds of a family are one training seed.

    Raises:
        ValueError: a number that is not finite.
    """
    table = pseudo_values(np.asarray(values, dtype=np.float64))
    rows = np.repeat(np.arange(len(blocks)), table.shape[1])
    factors: Mapping[str, ArrayLike] = {
        "sft_seed": _numbered([(family, sft_seed) for family, sft_seed, _ in blocks])[rows],
        "run": _numbered([(family, run) for family, _, run in blocks])[rows],
        "item": np.tile(np.arange(table.shape[1]), len(blocks)),
    }
    return clustered_mean(table.ravel(), factors, strata=_numbered([family for family, _, _ in blocks])[rows])


def pseudo_values(readings: Floats) -> Floats:
    """Values [B, G] that stand for the G groups of items in readings [B, 1 + G] (see `block_mean`); [B, 1] if G = 0."""
    whole, without = readings[:, :1], readings[:, 1:]
    groups = without.shape[1]
    if groups == 0:
        return whole
    pseudo = groups * whole - (groups - 1) * without
    return np.asarray(pseudo + whole - pseudo.mean(axis=1, keepdims=True))


def nested_weights(levels: Sequence[ArrayLike]) -> Floats:
    """Weights of a mean of means: at each level, outermost first, every label met inside its parent counts alike.

    Args:
        levels: each [N] labels.

    Returns:
        [N], summing to 1.
    """
    path = np.zeros(len(np.asarray(levels[0])), dtype=np.int64)
    weights: Floats = np.ones(len(path))
    for level in levels:
        parent = path
        path = _joint(parent, _codes(level, len(parent), "levels"))
        _, first = np.unique(path, return_index=True)
        weights /= np.bincount(parent[first])[parent]
    return weights / np.bincount(path)[path]


def _counted(codes: Mapping[str, Codes], stratum: Codes) -> list[str]:
    """Factors that add variance: repeated in every stratum, and not nested in an outer one of them.

    None where some strata alone repeat what would be the outermost.
    """
    kept: list[str] = []
    for name, labels in codes.items():
        repeated = [len(np.unique(labels[stratum == s])) > 1 for s in np.unique(stratum)]
        if any(repeated) and not all(repeated) and not kept:
            return []
        if all(repeated) and not any(_nested(labels, codes[outer]) for outer in kept):
            kept.append(name)
    return kept


def _variance(residual: Floats, labels: Codes, stratum: Codes) -> Part:
    """Variance and degrees of freedom of one factor, stratum by stratum where its clusters do not cross strata."""
    groups = stratum if _nested(labels, stratum) else np.zeros_like(stratum)
    parts = []
    for group in np.unique(groups):
        sums = np.bincount(_dense(labels[groups == group]), weights=residual[groups == group])
        parts.append((len(sums) / (len(sums) - 1) * float(sums @ sums), float(len(sums) - 1)))
    return satterthwaite(parts)


def _interaction(residual: Floats, outer: Codes, other: Codes, stratum: Codes) -> float:
    """Mean square of the interaction of two crossed factors, on the scale of the mean's variance."""
    total = 0.0
    for s in np.unique(stratum):
        rows, columns = _dense(outer[stratum == s]), _dense(other[stratum == s])
        shape = (int(rows.max()) + 1, int(columns.max()) + 1)
        cell = rows * shape[1] + columns
        if len(np.unique(cell)) < shape[0] * shape[1]:
            continue
        table = np.bincount(cell, weights=residual[stratum == s]).reshape(shape)
        left = table - table.mean(axis=0) - table.mean(axis=1, keepdims=True) + table.mean()
        total += table.size / ((shape[0] - 1) * (shape[1] - 1)) * float((left**2).sum())
    return total


def _nested(inner: Codes, outer: Codes) -> bool:
    """Whether each label of `inner` lies within one label of `outer`."""
    return len(np.unique(_joint(inner, outer))) == len(np.unique(inner))


def _joint(first: Codes, second: Codes) -> Codes:
    return _dense(first * (int(second.max()) + 1) + second)


def _dense(labels: NDArray[np.generic]) -> Codes:
    return np.unique(labels, return_inverse=True)[1].astype(np.int64)


def _codes(labels: ArrayLike, count: int, name: str) -> Codes:
    array = np.asarray(labels)
    if array.shape != (count,):
        raise ValueError(f"{name} must have shape [{count}], got {list(array.shape)}")
    return _dense(array)


def _numbered(labels: Sequence[Hashable]) -> NDArray[np.int64]:
    number = {label: i for i, label in enumerate(dict.fromkeys(labels))}
    return np.array([number[label] for label in labels], dtype=np.int64)
