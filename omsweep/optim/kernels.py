"""The passes that torch.compile turns into one kernel each: moments, update, mask, merge, decay, all in one.

Everything that changes between steps and tensors (learning rate, alpha, density, keys, thresholds) comes as an entry of
two small tensors, `numbers` and `words`, so that one dynamic graph serves all tensors and no schedule recompiles it.
The hash is that of `omsweep.merging.randomness` on wrapping int32; comparisons of unsigned words are made on words
whose top bit is flipped. Without compilation these functions are ordinary torch code with the same results.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

NUMBERS = (
    "grad_share",  # 1 - beta1
    "beta2",
    "square_share",  # 1 - beta2
    "step_size",  # -lr / (1 - beta1^t) * sqrt(1 - beta2^t)
    "eps",  # eps * sqrt(1 - beta2^t)
    "kept",  # 1 - lr * weight_decay
    "decayed",  # lr * weight_decay
    "alpha",
    "update_share",  # 1 - alpha
    "rescale",  # 1 or 1/p
    "clip",
)
WORDS = (
    "start",  # index of the first entry in the full tensor
    "update_key_first",
    "update_key_second",
    "tau_key_first",
    "tau_key_second",
    "rounding_key_first",
    "rounding_key_second",
    "limit",  # least dropped word of a random mask, top bit flipped
    "update_cut",
    "update_tie",  # least kept hash of a tied entry, top bit flipped
    "tau_cut",
    "tau_tie",
)
_AT = {name: i for i, name in enumerate(NUMBERS)} | {name: i for i, name in enumerate(WORDS)}
_FLIP = -(2**31)
_MULTIPLIERS = (0x7FEB352D, 0x846CA68B - 2**32)


class Kind(NamedTuple):
    """What is fixed for all tensors and steps, and so compiled in.

    Attributes:
        mask: `all`, `random` or `top`.
        tau: `none`, `dense` (to be masked) or `ready` (masked, rescaled and clamped already).
        elect: `none`, `weighted` or `unweighted`.
        clipped: whether tau is clamped.
        stochastic: how weights are added to.
    """

    mask: str
    tau: str
    elect: str
    clipped: bool
    stochastic: bool


def signed(word: int) -> int:
    """A 32-bit word as int32."""
    word &= 0xFFFFFFFF
    return word - 2**32 if word >= 2**31 else word


def flipped(word: int) -> int:
    """A 32-bit word with its top bit flipped, as int32: ordered like the unsigned word."""
    return signed(word ^ 0x80000000)


SEEN = ("part", "applied", "whole", "sparse", "update_term", "tau_term")
"""Of each watched entry: what was merged in, what of it arrived, delta, S(delta), and both weighted terms."""


def whole_step(
    weights: Tensor,
    low_bits: Tensor | None,
    grad: Tensor,
    exp_avg: Tensor,
    exp_avg_sq: Tensor,
    tau: Tensor | None,
    count: Tensor | None,
    entries: Tensor,
    merged: Tensor,
    numbers: Tensor,
    words: Tensor,
    *,
    kind: Kind,
) -> Tensor:
    """One step of one tensor in place: everything but a top-p method, which needs a threshold half-way.

    Args:
        weights: flat like all others of its size, float32 or bfloat16; `low_bits` completes the latter.
        grad: any floating dtype.
        exp_avg: float32, as is `exp_avg_sq`.
        tau: None where it takes no part.
        count: 0, 1, 2, ... int32, where reading it is quicker than counting: in the vector loops of a CPU; or None.
        entries: positions watched for the diagnostics, int64.
        merged: float32, one for each of `entries`: what was merged in there is added.
        numbers: float32, see `NUMBERS`.
        words: int32, see `WORDS`.
        kind: what is compiled in.

    Returns:
        `SEEN` of the watched entries, float32 `[6, watched]`.
    """
    watched = _formed(grad[entries], exp_avg[entries], exp_avg_sq[entries], numbers)[2]
    seen = _seen(weights, low_bits, watched, tau, entries, merged, numbers, words, kind)
    first, second, update = _formed(grad, exp_avg, exp_avg_sq, numbers)
    exp_avg.copy_(first)
    exp_avg_sq.copy_(second)
    _move(weights, low_bits, update, tau, count, numbers, words, kind)
    return seen


def advance(grad: Tensor, exp_avg: Tensor, exp_avg_sq: Tensor, update: Tensor, numbers: Tensor) -> None:
    """First half of a top-p step: moments and `update` in place."""
    first, second, formed = _formed(grad, exp_avg, exp_avg_sq, numbers)
    exp_avg.copy_(first)
    exp_avg_sq.copy_(second)
    update.copy_(formed)


def merge_step(
    weights: Tensor,
    low_bits: Tensor | None,
    update: Tensor,
    tau: Tensor | None,
    count: Tensor | None,
    entries: Tensor,
    merged: Tensor,
    numbers: Tensor,
    words: Tensor,
    *,
    kind: Kind,
) -> Tensor:
    """Second half of a top-p step, in place; arguments and result as for `whole_step`."""
    seen = _seen(weights, low_bits, update[entries], tau, entries, merged, numbers, words, kind)
    _move(weights, low_bits, update, tau, count, numbers, words, kind)
    return seen


class Terms(NamedTuple):
    """A merge taken apart: S(update), S(tau), and what consensus keeps of (1 - alpha) S(update) and alpha S(tau)."""

    update_sparse: Tensor
    tau_sparse: Tensor | None
    update_kept: Tensor
    tau_kept: Tensor | None


def merged_terms(
    update: Tensor, tau: Tensor | None, index: Tensor, numbers: Tensor, words: Tensor, kind: Kind
) -> Terms:
    """C((1 - alpha) S(update), alpha S(tau)), taken apart, for entries at `index` (int32) of their full tensors.

    `numbers` and `words` hold one row per name: a number each for one tensor, or one for each entry of several.
    """
    sparse = _sparse(update, index, numbers, words, "update", kind.mask)
    u = _weighted(sparse, _n(numbers, "update_share"))
    if tau is None:
        return Terms(sparse, None, u, None)
    sparse_tau = tau.to(torch.float32)
    if kind.tau == "dense":
        sparse_tau = _sparse(sparse_tau, index, numbers, words, "tau", kind.mask)
        if kind.clipped:
            sparse_tau = torch.minimum(torch.maximum(sparse_tau, -_n(numbers, "clip")), _n(numbers, "clip"))
    v = _weighted(sparse_tau, _n(numbers, "alpha"))
    if kind.elect == "unweighted":
        elected = torch.where(sparse + sparse_tau >= 0, 1.0, -1.0)
        u = torch.where(sparse.sign() == elected, u, 0.0)
        v = torch.where(sparse_tau.sign() == elected, v, 0.0)
    elif kind.elect == "weighted":
        opposite = u.sign() * v.sign() < 0
        u, v = (
            torch.where(opposite & (u.abs() <= v.abs()), 0.0, u),
            torch.where(opposite & (v.abs() <= u.abs()), 0.0, v),
        )
    return Terms(sparse, sparse_tau, u, v)


def keyed_bits(index: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """Hash bits of int32 indices under int32 keys, as int32 words."""
    x = index * first + second
    x = x ^ ((x >> 16) & 0xFFFF)
    x = x * _MULTIPLIERS[0]
    x = x ^ ((x >> 15) & 0x1FFFF)
    x = x * _MULTIPLIERS[1]
    return x ^ ((x >> 16) & 0xFFFF)


def kept_entries(x: Tensor, index: Tensor, words: Sequence[Tensor], mask: str) -> Tensor:
    """Keep decisions; `words`: first key, second key, then limit, cut and tie, numbers or one for each entry."""
    first, second, limit, cut, tie = words
    if mask == "random":
        return (keyed_bits(index, first, second) ^ _FLIP) < limit
    bits = x.view(torch.int32) & 0x7FFFFFFF
    return (bits > cut) | ((bits == cut) & ((keyed_bits(index, first, second) ^ _FLIP) >= tie))


def _formed(grad: Tensor, exp_avg: Tensor, exp_avg_sq: Tensor, numbers: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Both moments a step on, and AdamW's displacement, with one division."""
    grad = grad.to(torch.float32)
    first = exp_avg + (grad - exp_avg) * _n(numbers, "grad_share")
    second = exp_avg_sq * _n(numbers, "beta2") + grad * grad * _n(numbers, "square_share")
    return first, second, first * _n(numbers, "step_size") / (second.sqrt() + _n(numbers, "eps"))


def _seen(
    weights: Tensor,
    low_bits: Tensor | None,
    update: Tensor,
    tau: Tensor | None,
    entries: Tensor,
    merged: Tensor,
    numbers: Tensor,
    words: Tensor,
    kind: Kind,
) -> Tensor:
    """`SEEN` of the watched entries, whose `update` is given; moves `merged` on."""
    held = _held(weights[entries], None if low_bits is None else low_bits[entries])
    index = entries.to(torch.int32) + _w(words, "start")
    terms = merged_terms(update, None if tau is None else tau[entries], index, numbers, words, kind)
    moved = _moved(held, terms, index, numbers, words, kind)
    if low_bits is None:
        moved = moved.to(weights.dtype).to(torch.float32)
    without, part, tau_term = held * _n(numbers, "kept"), terms.update_kept, torch.zeros_like(held)
    if terms.tau_kept is not None and terms.tau_sparse is not None:
        part, tau_term = terms.tau_kept, _weighted(terms.tau_sparse, _n(numbers, "alpha"))
        without = without.to(torch.float64) + terms.update_kept.to(torch.float64)
        merged.add_(part)
    exact = kind.stochastic or without.dtype == weights.dtype
    without = without.to(torch.float64) if exact else without.to(weights.dtype).to(torch.float64)
    applied = (moved.to(torch.float64) - without).to(torch.float32)
    sparse = terms.update_sparse
    return torch.stack([part, applied, update, sparse, _weighted(sparse, _n(numbers, "update_share")), tau_term])


def _move(
    weights: Tensor,
    low_bits: Tensor | None,
    update: Tensor,
    tau: Tensor | None,
    count: Tensor | None,
    numbers: Tensor,
    words: Tensor,
    kind: Kind,
) -> None:
    index = torch.arange(weights.shape[0], dtype=torch.int32, device=weights.device) if count is None else count
    index = index + _w(words, "start")
    terms = merged_terms(update, tau, index, numbers, words, kind)
    moved = _moved(_held(weights, low_bits), terms, index, numbers, words, kind)
    if low_bits is None:
        weights.copy_(moved)
        return
    raw = moved.view(torch.int32)
    high = (raw + 0x8000) >> 16
    low_bits.copy_((raw - (high << 16)).to(torch.int16))
    weights.copy_(high.to(torch.int16).view(torch.bfloat16))


def _moved(held: Tensor, terms: Terms, index: Tensor, numbers: Tensor, words: Tensor, kind: Kind) -> Tensor:
    """Weights after decay and movement, float32."""
    movement = terms.update_kept if terms.tau_kept is None else terms.update_kept + terms.tau_kept
    if not kind.stochastic:
        return held * _n(numbers, "kept") + movement
    bits = keyed_bits(index, _w(words, "rounding_key_first"), _w(words, "rounding_key_second"))
    return _added(held, movement - _n(numbers, "decayed") * held, bits)


def _sparse(x: Tensor, index: Tensor, numbers: Tensor, words: Tensor, stream: str, mask: str) -> Tensor:
    if mask == "all":
        return x
    named = (f"{stream}_key_first", f"{stream}_key_second", "limit", f"{stream}_cut", f"{stream}_tie")
    keep = kept_entries(x, index, [_w(words, name) for name in named], mask)
    return torch.where(keep, x, 0.0) * _n(numbers, "rescale")


def _added(weights: Tensor, movement: Tensor, bits: Tensor) -> Tensor:
    """As `omsweep.optim.precision.add_stochastic`, on int32 words."""
    total = weights + movement
    part = total - weights
    error = (weights - (total - part)) + (movement - part)
    step = torch.where((error > 0) == (total > 0), 1, -1).to(torch.int32)
    neighbour = (total.view(torch.int32) + step).view(torch.float32)
    chance = ((bits >> 8) & 0xFFFFFF).to(torch.float32) * 2.0**-24 * (neighbour - total).abs()
    return torch.where(error.abs() > chance, neighbour, total)


def _held(weights: Tensor, low_bits: Tensor | None) -> Tensor:
    """Weights as they are held, float32."""
    if low_bits is None:
        return weights.to(torch.float32)
    return ((weights.view(torch.int16).to(torch.int32) << 16) + low_bits.to(torch.int32)).view(torch.float32)


def _weighted(x: Tensor, weight: Tensor) -> Tensor:
    """weight * x, and 0 for a weight of 0 even where x is not finite."""
    return torch.where(weight == 0.0, 0.0, x * weight)


def _n(numbers: Tensor, name: str) -> Tensor:
    return numbers[_AT[name]]


def _w(words: Tensor, name: str) -> Tensor:
    return words[_AT[name]]
