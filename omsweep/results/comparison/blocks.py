"""The mean of what is read block by block, over SFT seeds and runs, with the items inside."""

from collections.abc import Hashable, Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from omsweep.results.comparison.clusters import clustered_mean
from omsweep.results.comparison.estimate import Estimate
from omsweep.results.comparison.points import Block, Floats


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


def _numbered(labels: Sequence[Hashable]) -> NDArray[np.int64]:
    number = {label: i for i, label in enumerate(dict.fromkeys(labels))}
    return np.array([number[label] for label in labels], dtype=np.int64)
