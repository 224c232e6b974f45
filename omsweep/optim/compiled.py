"""The compiled path: which runs it can take, what its kernels read at each step, and how they are called."""

import functools
import logging
import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from types import FunctionType
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from omsweep.merging.randomness import MaskKey, entry_bits, keep_limit, mask_keys, name_words
from omsweep.merging.sparsify import kept_count, top_threshold
from omsweep.merging.threshold import Ranked, TopThreshold, magnitude_bits, top_thresholds
from omsweep.optim.diagnostics import Ledger
from omsweep.optim.kernels import NUMBERS, WORDS, Kind, advance, flipped, merge_step, signed, whole_step
from omsweep.optim.merger import Merger

if TYPE_CHECKING:
    from omsweep.optim.adamw import Item

AUTO_ENTRIES = 4_000_000
"""`auto` compiles for models of this many entries or more: below, compiling costs more than it saves."""
BRACKET = 0.9
"""A threshold is first sought above this share of the last step's, and everywhere if it is not there."""
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
    if path == "compiled" and reason:
        raise ValueError(f"path compiled is not to be had: {reason}; use plain")
    if path == "compiled":
        return FusedStep(merger, precision)
    if sum(parameter.numel() for parameter in parameters.values()) < AUTO_ENTRIES:
        return None
    if reason:
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
    if len({parameter.device for parameter in parameters.values()}) > 1:
        return "the parameters lie on several devices"
    if devices == {"cpu"} and not any(shutil.which(name) for name in ("g++", "clang++", "c++")):
        return "there is no C++ compiler"
    return None


class FusedStep:
    """Steps parameters with compiled kernels.

    Args:
        merger: with K = 1 and a method of `MASKS`.
        precision: `nearest` or `stochastic`.
    """

    def __init__(self, merger: Merger, precision: str) -> None:
        self._merger = merger
        self._stochastic = precision == "stochastic"
        self._mask = MASKS[merger.settings.method] if merger.settings.density < 1.0 else "all"
        self._cuts: dict[str, int] = {}
        self._scratch: Tensor | None = None
        self._count: Tensor | None = None
        self._names: tuple[tuple[str, ...], Tensor] = ((), torch.empty(0))
        self._called: set[tuple[str, int]] = set()

    def fits(self, item: "Item") -> bool:
        """Whether a kernel can step a parameter; the others are stepped plainly."""
        block = item.piece.block
        return (
            item.lr != 0.0
            and item.weights.numel() > 0
            and block.contiguous
            and block.total < 2**31
            and item.weights.is_contiguous()
            and item.grad.is_contiguous()
            and not (self._mask == "top" and bool(item.piece.groups))
        )

    def forget(self) -> None:
        """Check every guard again at the next step: states were replaced."""
        self._called.clear()

    def step(self, items: Sequence["Item"], step: int, ledger: Ledger) -> None:
        """Advance, merge and record every parameter; all must fit."""
        if not items:
            return
        self._make_room(max(items, key=lambda item: item.weights.numel()).weights)
        torch._foreach_add_([item.state["step"] for item in items], 1.0)
        numbers, words = self._numbers(items), self._words(items, step)
        names = {(item.name, item.weights.data_ptr()) for item in items}
        # The same tensors came through with every guard checked before: only what tells graphs apart is checked again.
        known = names <= self._called
        with torch.compiler.set_stance(skip_guard_eval_unsafe=True) if known else nullcontext():
            seen = [
                self._step_one(item, own, word, step, ledger)
                for item, own, word in zip(items, numbers.unbind(0), words.unbind(0), strict=True)
            ]
        self._called |= names
        ledger.record_seen([item.name for item in items], seen)

    def _step_one(self, item: "Item", numbers: Tensor, words: Tensor, step: int, ledger: Ledger) -> Tensor:
        """Step one parameter; returns `SEEN` of its watched entries."""
        state, weights, grad = item.state, item.weights.view(-1), item.grad.view(-1)
        low_bits = state["low_bits"].view(-1) if "low_bits" in state else None
        moments = state["exp_avg"].view(-1), state["exp_avg_sq"].view(-1)
        count = None if self._count is None else self._count[: weights.numel()]
        entries, merged = ledger.places(item.name, state)
        tau, form = self._tau(item, step)
        tau = None if tau is None else tau.reshape(-1)
        settings = self._merger.settings
        elect = (settings.elect or "none") if tau is not None else "none"
        kind = Kind(self._mask, form, elect, settings.clip is not None, self._stochastic)
        if self._mask != "top":
            step_whole = _kernel(whole_step, kind)
            seen = step_whole(weights, low_bits, grad, *moments, tau, count, entries, merged, numbers, words)
        else:
            assert self._scratch is not None, "made when the step began"
            update = self._scratch[: weights.numel()]
            _kernel(advance, None)(grad, *moments, update, numbers)
            self._find_cut(item.name, update, words, step)
            merge = _kernel(merge_step, kind)
            seen = merge(weights, low_bits, update, tau, count, entries, merged, numbers, words)
        ledger.add_merged(item.name, state, merged)
        return seen

    def _find_cut(self, name: str, update: Tensor, words: Tensor, step: int) -> None:
        """Write the threshold of an update into `words`."""
        settings, last = self._merger.settings, self._cuts.get(name, 0)
        k = kept_count(update.numel(), settings.density, self._merger.axes.min_kept)
        found = TopThreshold(0, 0)
        if k < update.numel():
            key = self._merger.update_key(name, step)
            cut = _cut_above(update, last, k, key) if last else None
            found = cut or top_threshold(update, k, key)
        self._cuts[name] = found.magnitude
        at = WORDS.index("update_cut")
        words[at] = found.magnitude
        words[at + 1] = flipped(found.tie)

    def _tau(self, item: "Item", step: int) -> tuple[Tensor | None, str]:
        """The task vector of a parameter, and whether it is masked already."""
        merger, device = self._merger, item.weights.device
        if not merger.merged_in:
            return None, "none"
        if merger.settings.tau_is_fixed and self._mask != "all":
            return merger.sparse_tau(item.name, item.piece, step, device), "ready"
        return merger.tau_as_held(item.name, item.piece, device), "dense"

    def _make_room(self, largest: Tensor) -> None:
        """Room for the largest parameter: its update, which top-p methods need all of, and on a CPU its count."""
        if largest.device.type == "cpu" and (self._count is None or self._count.numel() < largest.numel()):
            self._count = torch.arange(largest.numel(), dtype=torch.int32)
            self._called.clear()
        if self._mask == "top" and (self._scratch is None or self._scratch.numel() < largest.numel()):
            self._scratch = torch.empty(largest.numel(), device=largest.device)
            self._called.clear()

    def _numbers(self, items: Sequence["Item"]) -> Tensor:
        """`NUMBERS` of every parameter at this step, float32 `[parameters, numbers]`."""
        rows: dict[tuple[int, float, float], list[float]] = {}
        chosen = []
        for item in items:
            alpha = self._merger.alpha(item.name, lr=item.lr, constructed_lr=item.group["constructed_lr"])
            key = id(item.group), float(item.state["step"]), alpha
            if key not in rows:
                rows[key] = self._row(item.group, key[1], alpha)
            chosen.append(rows[key])
        return torch.tensor(chosen, dtype=torch.float32, device=items[0].weights.device)

    def _row(self, group: Mapping[str, Any], count: float, alpha: float) -> list[float]:
        settings, lr = self._merger.settings, float(group["lr"])
        beta1, beta2 = group["betas"]
        root = math.sqrt(1 - beta2**count)
        row = {
            "grad_share": 1 - beta1,
            "beta2": beta2,
            "square_share": 1 - beta2,
            "step_size": -lr / (1 - beta1**count) * root,
            "eps": group["eps"] * root,
            "kept": 1 - lr * group["weight_decay"],
            "decayed": lr * group["weight_decay"],
            "alpha": alpha,
            "update_share": 1 - alpha,
            "rescale": 1.0 / settings.density if settings.rescale == "inverse" else 1.0,
            "clip": settings.clip or 0.0,
        }
        return [row[name] for name in NUMBERS]

    def _words(self, items: Sequence["Item"], step: int) -> Tensor:
        """`WORDS` of every parameter at this step, int32 `[parameters, words]`."""
        merger, names = self._merger, tuple(item.name for item in items)
        if names != self._names[0]:
            self._names = names, name_words(names)
        seed, tau_step = merger.settings.seed, 0 if merger.settings.tau_is_fixed else step
        streams = {"update": step, "task_vector": tau_step, "rounding": step}
        keys = [mask_keys(seed, at, stream, self._names[1]) for stream, at in streams.items()]
        cuts = [self._tau_cut(item, step) for item in items]
        limit = flipped(min(keep_limit(merger.settings.density), 2**32 - 1))
        head = torch.tensor([signed(item.piece.block.start) for item in items]).unsqueeze(1)
        tail = torch.tensor([[limit, 0, flipped(0), cut.magnitude, flipped(cut.tie)] for cut in cuts])
        return torch.cat([head, *keys, tail], dim=1).to(torch.int32).to(items[0].weights.device)

    def _tau_cut(self, item: "Item", step: int) -> TopThreshold:
        if self._mask != "top" or not self._merger.merged_in:
            return TopThreshold(0, 0)
        found = self._merger.tau_threshold(item.name, item.piece, step, item.weights.device)
        return found or TopThreshold(0, 0)


def _cut_above(update: Tensor, last: int, k: int, key: MaskKey) -> TopThreshold | None:
    """The threshold of an update if its magnitude lies above `BRACKET` times the last one, else None."""
    least = float(torch.tensor(last, dtype=torch.int32).view(torch.float32)) * BRACKET
    magnitudes = update.abs()
    chosen = ~(magnitudes < least)  # NaN ranks largest
    bits = magnitude_bits(magnitudes[chosen])
    if bits.numel() < k:
        return None
    found = Ranked(lambda: bits, lambda at: entry_bits(chosen.nonzero().squeeze(1)[at], key), k)
    return top_thresholds([found], lambda counts: counts)[0]


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
