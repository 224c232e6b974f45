"""The compiled path: which runs it can take, the numbers its kernels read, and top-p thresholds without a sort."""

import functools
import logging
import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from types import FunctionType
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from omsweep.merging.randomness import keep_limit
from omsweep.merging.sparsify import kept_count, top_threshold
from omsweep.merging.threshold import TopThreshold, magnitude_bits
from omsweep.optim.diagnostics import Ledger
from omsweep.optim.kernels import (
    NUMBERS,
    WORDS,
    Kind,
    advance,
    flipped,
    merge_step,
    signed,
    whole_step,
)
from omsweep.optim.merger import Merger
from omsweep.optim.recorder import held_samples, record

if TYPE_CHECKING:
    from omsweep.optim.adamw import Item

AUTO_ENTRIES = 4_000_000
"""`auto` compiles for models of this many entries or more: below, compiling costs more than it saves."""
BRACKET = 0.1
"""A threshold is first sought within this share of the last step's, and everywhere if it is not there."""
MASKS = {"adamw": "all", "linear": "all", "ondare": "random", "childtuning": "random", "onties": "top"}

logger = logging.getLogger(__name__)


def fused_step(path: str, merger: Merger, precision: str, parameters: Mapping[str, Tensor]) -> "FusedStep | None":
    """The compiled step where `path` asks for it and the run can take it, else None.

    Raises:
        ValueError: `path` is `compiled` and the run cannot.
    """
    if path not in ("auto", "compiled"):
        return None
    reason = _obstacle(merger, precision, parameters)
    if path == "compiled":
        if reason:
            raise ValueError(f"path compiled is not to be had: {reason}; use plain")
        return FusedStep(merger, precision)
    small = sum(parameter.numel() for parameter in parameters.values()) < AUTO_ENTRIES
    if small or reason:
        if not small:
            logger.info("path auto: plain, because %s", reason)
        return None
    return FusedStep(merger, precision)


def _obstacle(merger: Merger, precision: str, parameters: Mapping[str, Tensor]) -> str | None:
    settings = merger.settings
    devices = {parameter.device.type for parameter in parameters.values()}
    if settings.method not in MASKS:
        return f"method {settings.method} has no kernel"
    if settings.gap_steps > 1:
        return "gap_steps > 1 has no kernel"
    if settings.rescale == "norm":
        return "rescale norm has no kernel"
    if precision == "lazy_tau":
        return "precision lazy_tau has no kernel"
    if any(parameter.dtype == torch.float16 for parameter in parameters.values()):
        return "float16 weights have no kernel"
    if devices == {"cpu"} and not any(shutil.which(name) for name in ("g++", "clang++", "c++")):
        return "there is no C++ compiler"
    return None


class FusedStep:
    """Steps parameters with compiled kernels; tensors that no kernel fits are stepped plainly.

    Args:
        merger: with K = 1 and a method of `MASKS`.
        precision: `nearest` or `stochastic`.
    """

    def __init__(self, merger: Merger, precision: str) -> None:
        self._merger = merger
        self._stochastic = precision == "stochastic"
        self._mask = MASKS[merger.settings.method] if merger.settings.density < 1.0 else "all"
        self._cuts: dict[str, int] = {}
        self._scratch: dict[torch.device, Tensor] = {}

    def fits(self, item: "Item") -> bool:
        """Whether a kernel can step a parameter."""
        block, tensors = item.piece.block, (item.weights, item.grad)
        return (
            item.lr != 0.0
            and item.weights.numel() > 0
            and block.contiguous
            and block.total < 2**31
            and all(tensor.is_contiguous() for tensor in tensors)
            and not (self._mask == "top" and item.piece.groups)
        )

    def step(self, items: Sequence["Item"], step: int, ledger: Ledger) -> None:
        """Advance, merge and record every parameter; all must fit."""
        if not items:
            return
        numbers, words = self._numbers(items), self._words(items, step)
        before = held_samples(items, ledger)
        updates = []
        for i, item in enumerate(items):
            item.state["step"] += 1
            updates.append(self._step_one(item, numbers[i], words[i], step, ledger))
        clipped, elect = self._merger.settings.clip is not None, self._merger.settings.elect or "none"
        kind = Kind(self._mask, "dense", elect if self._merger.merged_in else "none", clipped, self._stochastic)
        record(items, before, updates, numbers, words, kind=kind, ledger=ledger)

    def _step_one(self, item: "Item", numbers: Tensor, words: Tensor, step: int, ledger: Ledger) -> Tensor | None:
        """Step one parameter; returns the watched entries of its update where a kernel has formed it apart."""
        state, weights = item.state, item.weights.view(-1)
        low_bits = state["low_bits"].view(-1) if "low_bits" in state else None
        moments = state["exp_avg"].view(-1), state["exp_avg_sq"].view(-1)
        tau, form = self._tau(item, step)
        settings = self._merger.settings
        elect = (settings.elect or "none") if tau is not None else "none"
        kind = Kind(self._mask, form, elect, settings.clip is not None, self._stochastic)
        if self._mask != "top":
            _kernel(whole_step, kind)(weights, low_bits, item.grad.view(-1), *moments, tau, numbers, words)
            return None
        update = self._update_buffer(weights)
        self._find_cut(item, update, moments, numbers, words, step)
        _kernel(merge_step, kind)(weights, low_bits, update, tau, numbers, words)
        return ledger.watched(item.name).take(update)

    def _find_cut(
        self,
        item: "Item",
        update: Tensor,
        moments: tuple[Tensor, Tensor],
        numbers: Tensor,
        words: Tensor,
        step: int,
    ) -> None:
        """Form the update and write its threshold into `words`."""
        last = self._cuts.get(item.name, 0)
        ends = [_scaled_bits(last, 1.0 - BRACKET), _scaled_bits(last, 1.0 + BRACKET)]
        bracket = torch.tensor(ends, dtype=torch.int32, device=update.device)
        counts, inside = _kernel(advance, None)(item.grad.view(-1), *moments, update, numbers, bracket)
        settings = self._merger.settings
        k = kept_count(update.numel(), settings.density, self._merger.axes.min_kept)
        key = self._merger.update_key(item.name, step)
        cut = _cut_inside(update, inside, counts.tolist(), k) if last else None
        found = TopThreshold(0, 0) if k >= update.numel() else cut or top_threshold(update, k, key)
        self._cuts[item.name] = found.magnitude
        at = WORDS.index("update_cut")
        cut_words = [found.magnitude, flipped(found.tie)]
        words[at : at + 2] = torch.tensor(cut_words, dtype=torch.int32, device=words.device)

    def _tau(self, item: "Item", step: int) -> tuple[Tensor | None, str]:
        """The task vector of a parameter, and whether it is masked already."""
        merger, device = self._merger, item.weights.device
        if not merger.merged_in:
            return None, "none"
        if merger.settings.tau_is_fixed and self._mask != "all":
            return merger.sparse_tau(item.name, item.piece, step, device).reshape(-1), "ready"
        return merger.tau_as_held(item.name, item.piece, device).reshape(-1), "dense"

    def _update_buffer(self, like: Tensor) -> Tensor:
        held = self._scratch.get(like.device)
        if held is None or held.numel() < like.numel():
            held = self._scratch[like.device] = torch.empty(like.numel(), device=like.device)
        return held[: like.numel()]

    def _numbers(self, items: Sequence["Item"]) -> Tensor:
        """`NUMBERS` of every parameter at this step, float32 `[parameters, numbers]`."""
        settings = self._merger.settings
        rescale = 1.0 / settings.density if settings.rescale == "inverse" else 1.0
        rows = []
        for item in items:
            beta1, beta2 = item.group["betas"]
            count, decayed = float(item.state["step"]) + 1, item.lr * item.group["weight_decay"]
            alpha = self._merger.alpha(item.name, lr=item.lr, constructed_lr=item.group["constructed_lr"])
            row = {
                "grad_share": 1 - beta1,
                "beta2": beta2,
                "square_share": 1 - beta2,
                "step_size": -item.lr / (1 - beta1**count),
                "root_correction": math.sqrt(1 - beta2**count),
                "eps": item.group["eps"],
                "kept": 1 - decayed,
                "decayed": decayed,
                "alpha": alpha,
                "update_share": 1 - alpha,
                "rescale": rescale,
                "clip": settings.clip or 0.0,
            }
            rows.append([row[name] for name in NUMBERS])
        return torch.tensor(rows, dtype=torch.float32, device=items[0].weights.device)

    def _words(self, items: Sequence["Item"], step: int) -> Tensor:
        """`WORDS` of every parameter at this step, int32 `[parameters, words]`."""
        merger, rows = self._merger, []
        limit = flipped(min(keep_limit(merger.settings.density), 2**32 - 1))
        for item in items:
            update, tau = merger.update_key(item.name, step), merger.tau_key(item.name, step)
            rounding = merger.rounding_key(item.name, step)
            cut = TopThreshold(0, 0)
            if self._mask == "top" and merger.merged_in:
                cut = merger.tau_threshold(item.name, item.piece, step, item.weights.device) or cut
            keys = [signed(word) for key in (update, tau, rounding) for word in key]
            tail = [limit, 0, flipped(0), cut.magnitude, flipped(cut.tie)]
            rows.append([signed(item.piece.block.start), *keys, *tail])
        return torch.tensor(rows, dtype=torch.int32, device=items[0].weights.device)


def _cut_inside(update: Tensor, inside: Tensor, counts: list[int], k: int) -> TopThreshold | None:
    """The k-th largest magnitude if it lies in the bracket and is not shared, else None."""
    least, above = counts
    if not above < k <= least:
        return None
    bits = magnitude_bits(update[inside])
    cut = int(torch.kthvalue(bits, bits.numel() - (k - above) + 1).values)
    tied = int((bits == cut).sum())
    wanted = k - above - int((bits > cut).sum())
    return TopThreshold(cut, 0) if tied == wanted else None


def _scaled_bits(bits: int, factor: float) -> int:
    """Float bits of a magnitude times a factor."""
    return int((torch.tensor(bits, dtype=torch.int32).view(torch.float32) * factor).view(torch.int32))


@functools.cache
def _kernel(function: Callable[..., Any], kind: Kind | None) -> Callable[..., Any]:
    """One dynamic graph per function and kind, shared by all optimizers of the process.

    torch.compile counts recompilations per code object, and kinds are no recompilations: each gets a code of its own.
    """
    if kind is not None:
        code = function.__code__.replace(co_name="_".join([function.__name__, kind.mask, kind.tau]))
        function = FunctionType(code, function.__globals__, code.co_name)
        function.__kwdefaults__ = {"kind": kind}
    return torch.compile(function, dynamic=True, fullgraph=True)
