"""Sparsifiers: which entries of a tensor are kept, and how the kept ones are rescaled.

A mask is applied with `where`, never by multiplication, so a dropped infinity or NaN leaves its weight alone.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from omsweep.merging.randomness import MaskKey, entry_bits, keep_random


class TopThreshold(NamedTuple):
    """The least kept entry in the order (bits of |x|, hash bits). Entries at or above it are kept."""

    magnitude: int
    tie: int


def kept_count(count: int, density: float, min_kept: int) -> int:
    """How many of `count` entries top-p keeps.

    `min_kept >= 1` (the paper): k = max(min_kept, round(p n)), at most n.
    `min_kept == 0` (the released code): k = int(p n), and everything when that is 0.
    """
    if min_kept == 0:
        return int(density * count) or count
    return min(count, max(min_kept, round(density * count)))


def top_threshold(x: Tensor, k: int, key: MaskKey) -> TopThreshold:
    """The k-th largest entry of `x` (the full tensor, float32) by (bits of |x|, hash bits); 1 <= k <= x.numel().

    +inf, -inf and NaN rank largest, because the bits of a float without its sign order like the float.
    """
    bits = _magnitude_bits(x)
    cut = int(torch.kthvalue(bits, bits.numel() - k + 1).values)
    wanted = k - int((bits > cut).sum())
    tied = (bits == cut).nonzero().squeeze(1)
    if wanted == tied.numel():
        return TopThreshold(cut, 0)
    ties = entry_bits(tied, key)
    return TopThreshold(cut, int(torch.kthvalue(ties, ties.numel() - wanted + 1).values))


def keep_above(x: Tensor, threshold: TopThreshold, key: MaskKey, *, start: int = 0) -> Tensor:
    """Keep decisions of `x` against a threshold of the full tensor; `start` is the row-major index of its first entry.

    Returns:
        bool `[x.numel()]`, row-major.
    """
    bits = _magnitude_bits(x)
    keep = bits >= threshold.magnitude
    if threshold.tie > 0:
        tied = (bits == threshold.magnitude).nonzero().squeeze(1)
        keep[tied] = entry_bits(tied + start, key) >= threshold.tie
    return keep


def random_mask(x: Tensor, *, density: float, min_kept: int, key: MaskKey) -> Tensor | None:
    """Keep each entry with probability `density` (eq. 3); None = keep all. `min_kept` has no meaning here."""
    del min_kept
    return None if density >= 1.0 else keep_random(x.numel(), density, key, device=x.device).view(x.shape)


def top_mask(x: Tensor, *, density: float, min_kept: int, key: MaskKey) -> Tensor | None:
    """Keep the `kept_count` entries of largest magnitude (eq. 5); ties go to the larger hash. None = keep all."""
    k = kept_count(x.numel(), density, min_kept)
    if k >= x.numel():
        return None
    return keep_above(x, top_threshold(x, k, key), key).view(x.shape)


def sparsify(x: Tensor, keep: Tensor | None, *, density: float, rescale: str) -> Tensor:
    """`x` where kept, else 0, times the rescale factor.

    Args:
        x: any shape, float32.
        keep: bool of the same shape; None keeps all.
        density: p in (0, 1], used by `inverse`.
        rescale: `none`; `inverse`: 1/p; `norm`: sum |x| before / after, over finite entries, in float64 (1 when
            nothing is left).
    """
    kept = x if keep is None else torch.where(keep, x, 0.0)
    if rescale == "inverse" and density < 1.0:
        return kept * (1.0 / density)
    if rescale == "norm" and keep is not None:
        before, after = _finite_abs_sum(x), _finite_abs_sum(kept)
        factor = torch.where(after > 0, before / after, 1.0)
        return kept * factor.to(x.dtype)
    return kept


def _magnitude_bits(x: Tensor) -> Tensor:
    assert x.dtype == torch.float32, f"magnitudes are ordered as float32 bits, got {x.dtype}"
    return x.reshape(-1).abs().view(torch.int32)


def _finite_abs_sum(x: Tensor) -> Tensor:
    return torch.where(torch.isfinite(x), x.abs(), 0.0).sum(dtype=torch.float64)
