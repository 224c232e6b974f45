"""The reference tier: the merging lines of algorithms 1 and 2 (arXiv:2405.17931), entry by entry in plain Python.

Slow on purpose, and written apart from the plain tier: its own hash on Python integers, its own sort, its own signs. It
takes the AdamW update as given.
"""

import math
import struct

import torch
from torch import Tensor

from omsweep.merging.merged import Axes, Merged
from omsweep.merging.methods import MergeMethod
from omsweep.merging.randomness import MaskKey

_WORD = 2**32


def merge(
    method: MergeMethod,
    update: Tensor,
    tau: Tensor | None,
    *,
    alpha: float,
    axes: Axes,
    update_key: MaskKey,
    tau_key: MaskKey,
) -> Merged:
    """Algorithm 1's merging lines: C((1-alpha) S(update), alpha S(tau)), the tau term clamped after rescaling.

    Args:
        method: a row of `METHODS` that is no pull.
        update: the displacement to merge, float32.
        tau: the task vector, same shape, float32; None where it takes no part (alpha = 0 and no unweighted election).
        alpha: merging weight in [0, 1].
        axes: see `Axes`.
        update_key: keys the update's mask and ties.
        tau_key: keys the task vector's.
    """
    sparse = _sparsified(method, _entries(update), axes, update_key)
    if tau is None:
        kept = [(1.0 - alpha) * x if alpha < 1.0 else 0.0 for x in sparse]
        movement = _tensor(kept, update)
        return Merged(movement, _tensor(sparse, update), None, movement, None)
    clip = math.inf if axes.clip is None else axes.clip
    tau_sparse = [max(-clip, min(clip, x)) for x in _sparsified(method, _entries(tau), axes, tau_key)]
    pairs = [_consensus(method, axes.elect, d, t, alpha) for d, t in zip(sparse, tau_sparse, strict=True)]
    return Merged(
        _tensor([u + v for u, v in pairs], update),
        _tensor(sparse, update),
        _tensor(tau_sparse, update),
        _tensor([u for u, _ in pairs], update),
        _tensor([v for _, v in pairs], update),
    )


def gap_movement(update: Tensor, gap_update: Tensor, merged: Tensor) -> Tensor:
    """Algorithm 2 literally: roll the weights back to where the gap began, then add the merge of the whole gap."""
    rollback = gap_update.double() - update.double()
    return (merged.double() - rollback).float()


def bits(index: int, key: MaskKey) -> int:
    """The 32 bits of one entry; see `omsweep.merging.randomness`."""
    x = (index * key.first + key.second) % _WORD
    x ^= x >> 16
    x = x * 0x7FEB352D % _WORD
    x ^= x >> 15
    x = x * 0x846CA68B % _WORD
    return x ^ (x >> 16)


def _sparsified(method: MergeMethod, xs: list[float], axes: Axes, key: MaskKey) -> list[float]:
    n, p = len(xs), axes.density
    kept = set(range(n))
    if method.sparsifier == "ranked" and p < 1.0:
        chances = _chances_by_rank(xs, p, axes.spread)
        kept = {i for i in range(n) if bits(i, key) < chances[i] * _WORD}
        if axes.rescale == "inverse":
            return [xs[i] / chances[i] if i in kept else 0.0 for i in range(n)]
    if method.sparsifier == "random" and p < 1.0:
        kept = {i for i in range(n) if bits(i, key) < p * _WORD}
    if method.sparsifier == "top":
        k = int(p * n) or n if axes.min_kept == 0 else min(n, max(axes.min_kept, round(p * n)))
        order = sorted(range(n), key=lambda i: (_magnitude_bits(xs[i]), bits(i, key)), reverse=True)
        kept = set(order[:k])
    factor = 1.0
    if axes.rescale == "inverse":
        factor = 1.0 / p
    if axes.rescale == "norm" and len(kept) < n:
        before = math.fsum(abs(x) for x in xs if math.isfinite(x))
        after = math.fsum(abs(xs[i]) for i in kept if math.isfinite(xs[i]))
        factor = before / after if after > 0 else 1.0
    return [xs[i] * factor if i in kept else 0.0 for i in range(n)]


def _chances_by_rank(xs: list[float], p: float, spread: float | None) -> list[float]:
    """p + spread * 2 min(p, 1 - p) * (rank - 1/2), rank the middle of an entry's bin; see `keep_probability`."""
    bins, step = [_magnitude_bits(x) >> 19 for x in xs], 2 * min(p, 1 - p) * (1.0 if spread is None else spread)
    ranks = [(sum(b < own for b in bins) + 0.5 * bins.count(own)) / len(bins) for own in bins]
    return [p + step * (rank - 0.5) for rank in ranks]


def _consensus(method: MergeMethod, elect: str, update: float, tau: float, alpha: float) -> tuple[float, float]:
    u = (1.0 - alpha) * update if alpha < 1.0 else 0.0
    v = alpha * tau if alpha > 0.0 else 0.0
    if method.consensus != "sign":
        return u, v
    if elect == "unweighted":
        sign = 1 if update + tau >= 0 else -1
        return (u if _sign(update) == sign else 0.0), (v if _sign(tau) == sign else 0.0)
    if _sign(u) * _sign(v) >= 0:
        return u, v
    if abs(u) == abs(v):
        return 0.0, 0.0
    return (u, 0.0) if abs(u) > abs(v) else (0.0, v)


def _sign(x: float) -> int:
    return (x > 0) - (x < 0)


def _magnitude_bits(x: float) -> int:
    """Bits of the float32 without its sign."""
    return int.from_bytes(struct.pack(">f", x), "big") & 0x7FFFFFFF


def _entries(x: Tensor) -> list[float]:
    return [float(value) for value in x.detach().cpu().reshape(-1).tolist()]


def _tensor(values: list[float], like: Tensor) -> Tensor:
    return torch.tensor(values, dtype=torch.float64).float().reshape(like.shape).to(like.device)
