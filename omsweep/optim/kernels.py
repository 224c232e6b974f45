"""The passes that are compiled into one kernel each: moments, update, mask, merge, decay, all in one.

Everything that changes between steps and tensors (learning rate, alpha, density, keys, thresholds) comes as an entry of
two small tensors, `numbers` and `words`, so that one dynamic graph serves all tensors and no schedule recompiles it.
The hash is that of `omsweep.merging.randomness` on wrapping int32; comparisons of unsigned words are made on words
whose top bit is flipped. Without compilation these functions are ordinary torch code with the same results.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from omsweep.merging.randomness import signed

BRACKET = ("bracket_low", "bracket_high")
NUMBERS = (
    "grad_share",  # 1 - beta1
    "beta2",
    "square_share",  # 1 - beta2
    "step_size",  # -lr / (1 - beta1^t) * sqrt(1 - beta2^t)
    "eps",  # eps * sqrt(1 - beta2^t)
    "kept",  # 1 - lr * weight_decay
    "decayed",  # lr * weight_decay
    "update_share",  # 1 - alpha
    "rescale",  # 1 or 1/p
    "clip",
    "update_weight",  # (1 - alpha) * rescale
    "tau_weight",  # alpha, times rescale unless the task vector was rescaled before
    *BRACKET,  # where the threshold of the update is sought first, each tensor's own
)
WORDS = (
    "update_key_first",
    "update_key_second",  # such that the position in the shard, not in the full tensor, is hashed; likewise below
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
        mask: `all`, `random`, `top`, or `tied`: as `top`, where entries are tied at a threshold.
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

    @property
    def rescaled(self) -> bool:
        """Whether tau is rescaled before it is weighted: where its clamp, done or to come, stands between the two."""
        return self.clipped or self.tau == "ready"


class Held(NamedTuple):
    """One tensor's part of a step that no method does without.

    Attributes:
        weights: a contiguous matrix like all others of its size; float32, bfloat16, or the bits of bfloat16 as int16.
        low_bits: int16, completes the bits of a bfloat16; None without.
        tau: any floating dtype; None where it takes no part.
        lanes: 0, 1, 2, ... int32, one for each column, where reading is quicker than counting, on a CPU; or None.
        entries: positions watched for the diagnostics, row-major, int64.
        merged: float32, one for each of `entries`: what was merged in there is added.
        seen: float32 `[entries, 7]`: `SEEN` of this merge is written here.
        numbers: float32, see `NUMBERS`.
        words: int32, see `WORDS`.
    """

    weights: Tensor
    low_bits: Tensor | None
    tau: Tensor | None
    lanes: Tensor | None
    entries: Tensor
    merged: Tensor
    seen: Tensor
    numbers: Tensor
    words: Tensor

    def only_numbers(self) -> "Held":
        """What `advance` reads."""
        return self._replace(**dict.fromkeys(set(Held._fields) - {"numbers"}))


class Terms(NamedTuple):
    """A merge taken apart: what consensus keeps of (1 - alpha) S(update) and alpha S(tau), and both before it."""

    update_kept: Tensor
    tau_kept: Tensor | None
    update_term: Tensor
    tau_term: Tensor | None


def flipped(word: int) -> int:
    """A 32-bit word with its top bit flipped, as int32: ordered like the unsigned word."""
    return signed(word ^ 0x80000000)


def whole_step(held: Held, grad: Tensor, exp_avg: Tensor, exp_avg_sq: Tensor, *, kind: Kind) -> None:
    """One step of one tensor in place: everything but a top-p method, which needs a threshold half-way.

    Args:
        held: weights, task vector and numbers.
        grad: any floating dtype.
        exp_avg: float32, as is `exp_avg_sq`.
        kind: what is compiled in.
    """
    at = held.entries
    update = _formed(_of(grad, at), _of(exp_avg, at), _of(exp_avg_sq, at), held.numbers)[2]
    _see(held, update, kind)
    first, second, update = _formed(grad, exp_avg, exp_avg_sq, held.numbers)
    exp_avg.copy_(first)
    exp_avg_sq.copy_(second)
    _move(held, update, kind)


def advance(
    held: Held, grad: Tensor, exp_avg: Tensor, exp_avg_sq: Tensor, update: Tensor, near: Tensor, *, kind: Kind
) -> tuple[Tensor]:
    """First half of a top-p step: moments, `update`, and its magnitudes in the bracket, else 0, as `near`; in place.

    Returns:
        How many entries lie above the bracket, int32.
    """
    del kind
    first, second, formed = _formed(grad, exp_avg, exp_avg_sq, held.numbers)
    exp_avg.copy_(first)
    exp_avg_sq.copy_(second)
    update.copy_(formed)
    size, high = formed.abs(), _n(held.numbers, "bracket_high")
    near.copy_(torch.where((size >= _n(held.numbers, "bracket_low")) & (size <= high), size, 0.0))
    return ((~(size <= high)).sum(dtype=torch.int32),)


def merge_step(held: Held, update: Tensor, *, kind: Kind) -> None:
    """Second half of a top-p step, in place; arguments as for `whole_step`."""
    _see(held, _of(update, held.entries), kind)
    _move(held, update, kind)


def keyed_bits(index: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """Hash bits of int32 indices under int32 keys, as int32 words."""
    x = index * first + second
    x = x ^ ((x >> 16) & 0xFFFF)
    x = x * _MULTIPLIERS[0]
    x = x ^ ((x >> 15) & 0x1FFFF)
    x = x * _MULTIPLIERS[1]
    return x ^ ((x >> 16) & 0xFFFF)


def _formed(grad: Tensor, exp_avg: Tensor, exp_avg_sq: Tensor, numbers: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Both moments a step on, and AdamW's displacement, with one division."""
    grad = grad.to(torch.float32)
    first = exp_avg + (grad - exp_avg) * _n(numbers, "grad_share")
    second = exp_avg_sq * _n(numbers, "beta2") + grad * grad * _n(numbers, "square_share")
    return first, second, first * _n(numbers, "step_size") / (second.sqrt() + _n(numbers, "eps"))


def _terms(held: Held, update: Tensor, tau: Tensor | None, index: Tensor, kind: Kind) -> Terms:
    """C((1 - alpha) S(update), alpha S(tau)), taken apart, for entries at `index` (int32) of their shard.

    0 < alpha < 1. Weight and rescaling are one factor, unless the clamp of tau stands between them.
    """
    numbers = held.numbers
    kept_update = _masked(update, index, held, "update", kind)
    u = kept_update * _n(numbers, "update_weight")
    if tau is None:
        return Terms(u, None, u, None)
    kept_tau = tau.to(torch.float32)
    if kind.tau == "dense":
        kept_tau = _masked(kept_tau, index, held, "tau", kind)
        if kind.clipped:
            clip = _n(numbers, "clip")
            kept_tau = torch.minimum(torch.maximum(kept_tau * _n(numbers, "rescale"), -clip), clip)
    v = kept_tau * _n(numbers, "tau_weight")
    before = u, v
    if kind.elect == "unweighted":
        whole = kept_update * _n(numbers, "rescale") if kind.rescaled else kept_update
        elected = torch.where(whole + kept_tau >= 0, 1.0, -1.0)
        u = torch.where(kept_update.sign() == elected, u, 0.0)
        v = torch.where(kept_tau.sign() == elected, v, 0.0)
    elif kind.elect == "weighted":
        opposite = u.sign() * v.sign() < 0
        u, v = (
            torch.where(opposite & (u.abs() <= v.abs()), 0.0, u),
            torch.where(opposite & (v.abs() <= u.abs()), 0.0, v),
        )
    return Terms(u, v, *before)


def _masked(x: Tensor, index: Tensor, held: Held, stream: str, kind: Kind) -> Tensor:
    """x where it is kept, else 0."""
    if kind.mask == "all":
        return x
    first, second = (_n(held.words, f"{stream}_key_{part}") for part in ("first", "second"))
    if kind.mask == "random":
        keep = (keyed_bits(index, first, second) ^ _FLIP) < _n(held.words, "limit")
        return torch.where(keep, x, 0.0)
    bits, cut = x.view(torch.int32) & 0x7FFFFFFF, _n(held.words, f"{stream}_cut")
    if kind.mask == "top":
        return torch.where(bits >= cut, x, 0.0)
    high = (keyed_bits(index, first, second) ^ _FLIP) >= _n(held.words, f"{stream}_tie")
    return torch.where((bits > cut) | ((bits == cut) & high), x, 0.0)


def _see(held: Held, update: Tensor, kind: Kind) -> None:
    """Write `SEEN` of the watched entries, whose `update` is given; moves `merged` on."""
    at, numbers = held.entries, held.numbers
    low_bits, tau = (None if x is None else _of(x, at) for x in (held.low_bits, held.tau))
    weights = _read(_of(held.weights, at), low_bits)
    index = at.to(torch.int32)
    averaged = kind.mask == "random" and kind.elect == "none"  # as `MergeMethod.masks_average_out`: as if kept
    terms = _terms(held, update, tau, index, kind._replace(mask="all") if averaged else kind)
    moved = _moved(weights, terms, index, held, kind)
    if held.low_bits is None:
        moved = moved.to(held.weights.dtype).to(torch.float32)
    without, part, tau_term = weights * _n(numbers, "kept"), terms.update_kept, torch.zeros_like(weights)
    if terms.tau_kept is not None and terms.tau_term is not None:
        part, tau_term = terms.tau_kept, terms.tau_term
        without = without.to(torch.float64) + terms.update_kept.to(torch.float64)
        held.merged.add_(part)
    if not kind.stochastic:
        without = without.to(held.weights.dtype)
    applied = (moved.to(torch.float64) - without.to(torch.float64)).to(torch.float32)
    sparse = terms.update_term / _n(numbers, "update_share")
    dropped = (terms.update_term - terms.update_kept).abs()
    held.seen.copy_(torch.stack([part, applied, update, sparse, terms.update_term, tau_term, dropped], dim=1))


def _move(held: Held, update: Tensor, kind: Kind) -> None:
    weights, lanes = held.weights, held.lanes
    rows, columns = weights.shape
    first = torch.arange(rows, dtype=torch.int32, device=weights.device) * columns
    if lanes is None:
        lanes = torch.arange(columns, dtype=torch.int32, device=weights.device)
    index = first.unsqueeze(1) + lanes
    terms = _terms(held, update, held.tau, index, kind)
    moved = _moved(_read(weights, held.low_bits), terms, index, held, kind)
    if held.low_bits is None:
        weights.copy_(moved)
        return
    raw = moved.view(torch.int32)
    high = (raw + 0x8000) >> 16
    held.low_bits.copy_(raw - (high << 16))
    weights.copy_(high)


def _moved(weights: Tensor, terms: Terms, index: Tensor, held: Held, kind: Kind) -> Tensor:
    """Weights after decay and movement, float32."""
    movement = terms.update_kept if terms.tau_kept is None else terms.update_kept + terms.tau_kept
    if not kind.stochastic:
        return weights * _n(held.numbers, "kept") + movement
    bits = keyed_bits(index, _n(held.words, "rounding_key_first"), _n(held.words, "rounding_key_second"))
    return _added(weights, movement - _n(held.numbers, "decayed") * weights, bits)


def _added(weights: Tensor, movement: Tensor, bits: Tensor) -> Tensor:
    """As `omsweep.optim.precision.add_stochastic`, on int32 words."""
    total = weights + movement
    part = total - weights
    error = (weights - (total - part)) + (movement - part)
    step = torch.where((error > 0) == (total > 0), 1, -1).to(torch.int32)
    neighbour = (total.view(torch.int32) + step).view(torch.float32)
    chance = ((bits >> 8) & 0xFFFFFF).to(torch.float32) * 2.0**-24 * (neighbour - total).abs()
    return torch.where(error.abs() > chance, neighbour, total)


def _read(weights: Tensor, low_bits: Tensor | None) -> Tensor:
    """Weights as they are held, float32."""
    if low_bits is None:
        return weights.to(torch.float32)
    return ((weights.to(torch.int32) << 16) + low_bits.to(torch.int32)).view(torch.float32)


def _of(x: Tensor, at: Tensor) -> Tensor:
    """Entries of a matrix at row-major positions, without a view of all of it."""
    row = at // x.shape[1]
    return x[row, at - row * x.shape[1]]


def _n(row: Tensor, name: str) -> Tensor:
    """The entry of `numbers` or `words` that is called so."""
    return row[_AT[name]]
