"""Sparsifiers: which entries of a tensor are kept, and how the kept ones are rescaled.

A mask is applied with `where`, never by multiplication, so a dropped infinity or NaN leaves its weight alone.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias

import torch
from torch import Tensor

from omsweep.merging.block import Block, whole
from omsweep.merging.randomness import MAX_ENTRIES, MaskKey, entry_bits, keep_random, uniform_bits
from omsweep.merging.threshold import (
    MAGNITUDE_LEVELS,
    Ranked,
    TopThreshold,
    level_counts,
    magnitude_bits,
    top_thresholds,
)

Facts: TypeAlias = TopThreshold | Tensor
"""What a mask has to know of the full tensor: the threshold of `top_mask`, or counts by magnitude for `spread`."""


class Mask(Protocol):
    """Chooses the kept entries of a tensor or of a shard of it; None keeps all."""

    def __call__(
        self, x: Tensor, *, density: Any, min_kept: int, key: MaskKey, block: Block | None = None, threshold: Any = None
    ) -> Tensor | None:
        """A bool tensor of the shape of `x`, or None."""


@dataclass(frozen=True, kw_only=True)
class Sparsifier:
    """A choice of kept entries.

    Attributes:
        mask: makes the choice; None keeps all.
        facts: what it has to know of the full tensor, which is found out before: a sharded run does so together.
    """

    mask: Mask | None = None
    facts: Literal["none", "threshold", "counts"] = "none"


def kept_count(count: int, density: float, min_kept: int) -> int:
    """How many of `count` entries top-p keeps.

    `min_kept >= 1` (the paper): k = max(min_kept, round(p n)), at most n.
    `min_kept == 0` (the released code): k = int(p n), and everything when that is 0.
    """
    if min_kept == 0:
        return int(density * count) or count
    return min(count, max(min_kept, round(density * count)))


def top_threshold(x: Tensor, k: int, key: MaskKey) -> TopThreshold:
    """The k-th largest entry of `x` (the full tensor, float32) by (bits of |x|, hash bits); 1 <= k <= x.numel()."""
    return top_thresholds([ranked(lambda: x, k, key, block=whole(x.numel()))], lambda counts: counts)[0]


def ranked(x: Callable[[], Tensor], k: int, key: MaskKey, *, block: Block) -> Ranked:
    """What `x()` gives, float32, as `top_thresholds` takes it; `k` counts entries of the full tensor."""
    return Ranked(lambda: magnitude_bits(x()), lambda at: entry_bits(block.index_of(at), key), k)


def keep_above(x: Tensor, threshold: TopThreshold, key: MaskKey, *, block: Block | None = None) -> Tensor:
    """Keep decisions of `x` against a threshold of the full tensor, in which `x` is `block`.

    Returns:
        bool `[x.numel()]`, row-major.
    """
    bits = magnitude_bits(x)
    keep = bits >= threshold.magnitude
    if threshold.tie > 0:
        tied = (bits == threshold.magnitude).nonzero().squeeze(1)
        place = whole(x.numel()) if block is None else block
        keep[tied] = entry_bits(place.index_of(tied), key) >= threshold.tie
    return keep


def random_mask(
    x: Tensor, *, density: float | Tensor, key: MaskKey, block: Block | None = None, **_: Any
) -> Tensor | None:
    """Keep each entry with probability `density` (eq. 3), one for all or one for each; None = keep all."""
    if isinstance(density, Tensor):
        bits = uniform_bits(x.numel(), key, block=block, device=x.device).view(x.shape)
        return bits < (density.double() * MAX_ENTRIES).ceil()
    if density >= 1.0:
        return None
    return keep_random(x.numel(), density, key, block=block, device=x.device).view(x.shape)


def magnitude_counts(x: Tensor) -> Tensor:
    """How many entries fall into each of 4096 bins of magnitude (exponent and four bits of mantissa); int64 `[4096]`.

    Counts of shards add up to those of the full tensor.
    """
    shift, width = MAGNITUDE_LEVELS[0]
    return level_counts(magnitude_bits(x), shift, width, 0)


def keep_probability(x: Tensor, *, counts: Tensor | None, density: float, spread: float | None) -> Tensor:
    """Keep probabilities that rise with the rank of an entry's magnitude (MAGPRUNE of arXiv:2406.11617).

        density + spread * 2 min(p, 1 - p) * (rank - 1/2), rank in (0, 1), the smallest entry's nearest 0, mean p

    Entries of one bin of `magnitude_counts` share its middle rank, so that shards agree after adding up their counts;
    the paper sorts each row, here the whole tensor is ranked.

    Args:
        x: any shape, float32.
        counts: of the full tensor; None: `x` is all of it.
        density: p, the mean.
        spread: share in [0, 1] of the widest difference between probabilities; None: 1.
    """
    counts = magnitude_counts(x) if counts is None else counts
    widest = 2.0 * min(density, 1.0 - density)
    below = counts.cumsum(0) - counts
    ranks = (below.double() + 0.5 * counts.double()) / counts.sum().clamp(min=1).double()
    by_bin = density + widest * (1.0 if spread is None else spread) * (ranks - 0.5)
    return by_bin[(magnitude_bits(x) >> MAGNITUDE_LEVELS[0][0]).long()].view(x.shape)


def top_mask(
    x: Tensor,
    *,
    density: float,
    min_kept: int,
    key: MaskKey,
    block: Block | None = None,
    threshold: TopThreshold | None = None,
) -> Tensor | None:
    """Keep the `kept_count` entries of largest magnitude (eq. 5); ties go to the larger hash. None = keep all.

    Entries that are 0 count as kept or dropped alike, see `omsweep.merging.threshold`.

    Args:
        block: where `x` lies in the full tensor; None: it is all of it.
        threshold: of the full tensor; None: found here, where `x` must be all of it.
    """
    k = kept_count(x.numel() if block is None else block.total, density, min_kept)
    if k >= (x.numel() if block is None else block.total):
        return None
    assert threshold is not None or block is None, "the threshold of a sharded tensor is found with its other shards"
    return keep_above(x, threshold or top_threshold(x, k, key), key, block=block).view(x.shape)


def sparsify(
    x: Tensor,
    keep: Tensor | None,
    *,
    density: float | Tensor,
    rescale: str,
    total: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    """`x` where kept, else 0, times the rescale factor.

    Args:
        x: any shape, float32.
        keep: bool of the same shape; None keeps all.
        density: p in (0, 1], or each entry's own, used by `inverse`.
        rescale: `none`; `inverse`: 1/p; `norm`: sum |x| before / after, over finite entries, in float64 (1 when
            nothing is left).
        total: sums a float64 tensor over the shards of the full tensor, for `norm`; None where `x` is all of it.
    """
    kept = x if keep is None else torch.where(keep, x, 0.0)
    if rescale == "inverse" and isinstance(density, Tensor):
        return kept * (1.0 / density).to(x.dtype)
    if rescale == "inverse" and density < 1.0:
        return kept * (1.0 / density)
    if rescale == "norm" and keep is not None:
        sums = torch.stack([_finite_abs_sum(x), _finite_abs_sum(kept)])
        before, after = sums if total is None else total(sums)
        factor = torch.where(after > 0, before / after, 1.0)
        return kept * factor.to(x.dtype)
    return kept


def _finite_abs_sum(x: Tensor) -> Tensor:
    return torch.where(torch.isfinite(x), x.abs(), 0.0).sum(dtype=torch.float64)


SPARSIFIERS: Mapping[str, Sparsifier] = {
    "all": Sparsifier(),
    "random": Sparsifier(mask=random_mask),
    "ranked": Sparsifier(mask=random_mask, facts="counts"),
    "top": Sparsifier(mask=top_mask, facts="threshold"),
}
