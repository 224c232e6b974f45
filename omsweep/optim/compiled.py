"""The compiled path: which runs it can take, what its kernels read at each step, and how they are called."""

import logging
import math
import shutil
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from omsweep.merging.randomness import keep_limit, mask_keys, name_words
from omsweep.merging.sparsify import kept_count, top_threshold
from omsweep.merging.threshold import NEAR_COLUMN, TopThreshold, threshold_among
from omsweep.optim.adam_update import Item
from omsweep.optim.diagnostics import Ledger
from omsweep.optim.flat import NOWHERE, VIEWED, Bracket, Flat, plane
from omsweep.optim.inductor import Kernel, given, kernel
from omsweep.optim.kernels import BRACKET, NUMBERS, WORDS, Held, Kind, advance, flipped, merge_step, whole_step
from omsweep.optim.merger import Merger
from omsweep.optim.precision import read_weights, write_weights

AUTO_ENTRIES = 4_000_000
"""`auto` compiles for models of this many entries or more: below, compiling costs more than it saves."""
JOINED_ON = ("cpu",)
"""Where 16-bit words keep a kernel from being vectorised: halves of weights are joined before it and split after."""
KERNEL_SPARSIFIERS, KERNEL_CONSENSUS = ("all", "random", "top"), ("none", "sum", "sign")
"""What kernels can do of a method; no pull is among it."""

logger = logging.getLogger(__name__)


def fused_step(path: str, merger: Merger, precision: str, parameters: Mapping[str, Tensor]) -> "FusedStep | None":
    """The compiled step where `path` asks for it and the run can take it, else None.

    Raises:
        ValueError: `path` is `compiled` and the run cannot.
    """
    if path not in ("auto", "compiled"):
        return None
    trained = {name: parameter for name, parameter in parameters.items() if parameter.requires_grad}
    reason = _obstacle(merger, precision, trained)
    if path == "compiled" and reason:
        raise ValueError(f"path compiled is not to be had: {reason}; use plain")
    if path == "compiled":
        return FusedStep(merger, precision, may_fail=False)
    if sum(parameter.numel() for parameter in trained.values()) < AUTO_ENTRIES:
        return None
    if reason:
        logger.info("path auto: plain, because %s", reason)
        return None
    return FusedStep(merger, precision, may_fail=True)


def _obstacle(merger: Merger, precision: str, parameters: Mapping[str, Tensor]) -> str | None:
    settings, method = merger.settings, merger.method
    devices = {parameter.device.type for parameter in parameters.values()}
    known = method.sparsifier in KERNEL_SPARSIFIERS and method.consensus in KERNEL_CONSENSUS
    if method.pull != "none" or not known:
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
    if not devices <= {"cpu", "cuda"}:
        return f"there is no kernel for {', '.join(sorted(devices - {'cpu', 'cuda'}))}"
    if devices == {"cuda"} and find_spec("triton") is None:
        return "triton is not installed"
    if devices == {"cpu"} and not any(shutil.which(name) for name in ("g++", "clang++", "c++")):
        return "there is no C++ compiler"
    return None


NO_CUT = TopThreshold(0, 0)  # everything is kept
ADVANCE = Kind("top", "none", "none", False, False)  # all kinds advance alike


class FusedStep:
    """Steps parameters with compiled kernels.

    Args:
        merger: with K = 1 and a method that has a kernel.
        precision: `nearest` or `stochastic`.
        may_fail: where compiling fails, warn and leave every parameter to be stepped plainly, instead of raising.

    Attributes:
        failed: whether compiling has failed, so that this steps nothing.
    """

    def __init__(self, merger: Merger, precision: str, *, may_fail: bool) -> None:
        self.failed = False
        self._may_fail = may_fail
        self._merger = merger
        self._stochastic = precision == "stochastic"
        self._mask = merger.method.sparsifier if merger.settings.density < 1.0 else "all"
        self._brackets: dict[str, Bracket] = {}
        self._update = self._near = self._master = self._numbers = self._words = torch.empty(0, dtype=torch.float32)
        self._lanes: Tensor | None = None
        self._names: tuple[str, ...] = ()
        self._room_for: tuple[Any, ...] = ()
        self._name_words = torch.empty(0)
        self._flats: dict[str, Flat] = {}
        self._tau_tied: set[str] = set()

    def _fits(self, item: Item, alpha: float) -> bool:
        """Whether a kernel can step a parameter; lets go of what was kept for tensors that were replaced."""
        if item.group["lr"] == 0.0 or (self._merger.merged_in and not 0.0 < alpha < 1.0):
            return False
        if not item.grad.is_contiguous():
            return False
        flat = self._flats.get(item.name)
        if flat is not None:
            if flat.serves(item):
                return True
            del self._flats[item.name]
        block = item.piece.block
        return (
            item.weights.numel() > 0
            and block.contiguous
            and block.total < 2**31
            and item.weights.is_contiguous()
            and not (self._mask == "top" and bool(item.piece.groups))
        )

    def forget(self) -> None:
        """Let go of states that were replaced."""
        self._flats.clear()
        self._room_for = ()

    def step(self, every: Sequence[Item], step: int, ledger: Ledger) -> list[Item]:
        """Advance, merge and record the parameters that a kernel can step.

        Returns:
            The other ones, to be stepped plainly.
        """
        alphas = self._alphas(every)
        fitting = [self._fits(item, alpha) for item, alpha in zip(every, alphas, strict=True)]
        items = [item for item, fits in zip(every, fitting, strict=True) if fits]
        if items and not self._compiled(items, step, ledger):
            return list(every)
        if items:
            self._step_all(items, [alpha for alpha, fits in zip(alphas, fitting, strict=True) if fits], step, ledger)
        return [item for item, fits in zip(every, fitting, strict=True) if not fits]

    def _compiled(self, items: Sequence[Item], step: int, ledger: Ledger) -> bool:
        """Compile what these parameters can need before any of them or their state moves; whether that is done."""
        new = self._make_room(items)
        if ledger.make_room(self._names):
            self._flats.clear()
        if not new:
            return True
        try:
            for row, item in enumerate(items):
                flat = self._flat(row, item, step, ledger)
                if flat.kind.mask == "top":
                    self._tied_kernel(flat)
            ledger.sums_seen()
        except Exception as error:  # whatever a compiler does not like
            if not self._may_fail:
                raise
            self.failed = True
            why = str(error).strip().partition("\n")[0]
            logger.warning("path auto: plain, because compiling failed: %s: %s", type(error).__name__, why)
        return not self.failed

    def _step_all(self, items: Sequence[Item], alphas: Sequence[float], step: int, ledger: Ledger) -> None:
        torch._foreach_add_([item.state["step"] for item in items], 1.0)
        self._numbers.copy_(self._number_rows(items, alphas))
        self._words.copy_(self._word_rows(items, step))
        for row, item in enumerate(items):
            self._step_one(row, item, step, ledger)
        ledger.record_seen()

    def _make_room(self, items: Sequence[Item]) -> bool:
        """A row of numbers and of words for each, room for the largest update, on a CPU one for the widest row.

        Returns:
            Whether they are new: parameters, shapes or dtypes are other ones than at the last step.
        """
        device = items[0].weights.device
        room_for = (device, *((i.name, i.weights.shape, i.weights.dtype, i.grad.dtype) for i in items))
        if room_for == self._room_for:
            return False
        self._flats.clear()
        if self._numbers.device != device:
            self._update = self._near = self._master = torch.empty(0, dtype=torch.float32, device=device)
            self._lanes = None
        self._room_for, self._names = room_for, tuple(item.name for item in items)
        self._name_words = name_words(self._names)
        self._numbers = torch.empty(len(items), len(NUMBERS), dtype=torch.float32, device=device)
        self._words = torch.empty(len(items), len(WORDS), dtype=torch.int32, device=device)
        halves = [item.weights.numel() for item in items if "low_bits" in item.state]
        if device.type in JOINED_ON and self._master.numel() < max(halves, default=0):
            self._master = torch.empty(max(halves), dtype=torch.float32, device=device)
        columns = max(plane(item.weights.shape)[1] for item in items)
        if device.type == "cpu" and (self._lanes is None or self._lanes.numel() < columns):
            self._lanes = torch.arange(columns, dtype=torch.int32)
        largest = max(item.weights.numel() for item in items)
        if self._mask == "top" and self._update.numel() < largest:
            self._update, self._near = (
                torch.empty(_padded(largest), dtype=torch.float32, device=device) for _ in range(2)
            )
        return True

    def _step_one(self, row: int, item: Item, step: int, ledger: Ledger) -> None:
        flat = self._flats.get(item.name) or self._flat(row, item, step, ledger)
        grad = item.grad if item.grad.shape == flat.shape else item.grad.view(flat.shape)
        joined = "low_bits" in item.state and flat.held.low_bits is None
        if joined:
            flat.held.weights.copy_(read_weights(item.weights, item.state).view(flat.shape))
        if self._mask == "top":
            self._step_top(row, item, flat, grad, step)
        else:
            flat.kernels[0]([*flat.given, grad, *flat.moments])
        if joined:
            write_weights(item.weights, flat.held.weights.view(item.weights.shape), item.state)
        if item.piece.groups:
            ledger.add_merged(item.name, item.state, flat.held.merged)

    def _step_top(self, row: int, item: Item, flat: Flat, grad: Tensor, step: int) -> None:
        """`_step_one` for a top-p mask."""
        advance, merge = flat.kernels
        update, near = (scratch[: grad.numel()].view(flat.shape) for scratch in (self._update, self._near))
        (above,) = advance([flat.held.numbers, grad, *flat.moments, update, near])
        if self._find_cut(row, item, update, above, step).tie > 0 or item.name in self._tau_tied:
            merge = self._tied_kernel(flat)
        merge([*flat.given, update])

    def _flat(self, row: int, item: Item, step: int, ledger: Ledger) -> Flat:
        state = item.state
        low_bits = state.get("low_bits")
        tau, form = self._tau(item, step)
        shape = torch.Size(plane(item.weights.shape))
        elect = (self._merger.settings.elect or "none") if tau is not None else "none"
        weights = item.weights if low_bits is None else item.weights.view(torch.int16)
        if low_bits is not None and weights.device.type in JOINED_ON:
            weights, low_bits = self._master[: weights.numel()], None
        entries, merged, seen = ledger.places(item.name, state)
        held = Held(
            weights=weights.view(shape),
            low_bits=None if low_bits is None else low_bits.view(shape),
            tau=None if tau is None else tau.reshape(shape),
            lanes=None if self._lanes is None else self._lanes[: shape[1]],
            entries=entries,
            merged=merged,
            seen=seen,
            numbers=self._numbers[row],
            words=self._words[row],
        )
        kind = Kind(self._mask, form, elect, self._merger.settings.clip is not None, self._stochastic)
        moments = state["exp_avg"].view(shape), state["exp_avg_sq"].view(shape)
        flat = Flat(
            held=held,
            given=tuple(given(held)),
            moments=moments,
            shape=shape,
            kind=kind,
            kernels=self._kernels(held, item.grad.view(shape), moments, kind),
            views_of={"weights": item.weights, **{key: state[key] for key in VIEWED if key in state}},
            grad_dtype=item.grad.dtype,
        )
        if form != "ready" and not item.piece.groups:  # else tau is unfolded, or the merged sample is new, at each step
            self._flats[item.name] = flat
        return flat

    def _kernels(self, held: Held, grad: Tensor, moments: tuple[Tensor, Tensor], kind: Kind) -> tuple[Kernel, ...]:
        if kind.mask != "top":
            return (kernel(whole_step, kind, held, grad, *moments),)
        first = kernel(advance, ADVANCE, held.only_numbers(), grad, *moments, self._update, self._near)
        return first, kernel(merge_step, kind, held, self._update)

    def _tied_kernel(self, flat: Flat) -> Kernel:
        return kernel(merge_step, flat.kind._replace(mask="tied"), flat.held, self._update)

    def _find_cut(self, row: int, item: Item, update: Tensor, above: Tensor, step: int) -> TopThreshold:
        """The threshold of an update, written into its words too."""
        settings, last = self._merger.settings, self._brackets.get(item.name, NOWHERE)
        k = kept_count(update.numel(), settings.density, self._merger.axes.min_kept)
        found = NO_CUT
        if k < update.numel():
            key, near = self._merger.update_key(item.name, step), None
            if last.middle > 0.0:
                padded = self._near[: _padded(update.numel())]
                padded[update.numel() :] = 0.0
                near = threshold_among(padded, k - int(above), update, key)
            found = near or top_threshold(update, k, key)
        self._brackets[item.name] = last.after(found.value / item.lr)
        self._words[row, _CUT].copy_(torch.tensor([found.magnitude, flipped(found.tie)], dtype=torch.int32))
        return found

    def _tau(self, item: Item, step: int) -> tuple[Tensor | None, str]:
        """The task vector of a parameter, and whether it is masked already."""
        merger, device = self._merger, item.weights.device
        if not merger.merged_in:
            return None, "none"
        if merger.settings.tau_is_fixed and self._mask != "all":
            return merger.sparse_tau(item.name, item.piece, step, device), "ready"
        return merger.tau_as_held(item.name, item.piece, device), "dense"

    def _alphas(self, items: Sequence[Item]) -> list[float]:
        """alpha_t of every parameter, 0 where nothing moves."""
        alpha = self._merger.alpha
        return [alpha(i.name, lr=i.lr, constructed_lr=i.group["constructed_lr"]) if i.lr else 0.0 for i in items]

    def _number_rows(self, items: Sequence[Item], alphas: Sequence[float]) -> Tensor:
        """`NUMBERS` of every parameter at this step, float32 `[parameters, numbers]`."""
        rows: dict[tuple[int, float, float], list[float]] = {}
        chosen = []
        counts = torch.stack([item.state["step"] for item in items]).tolist()
        for item, alpha, count in zip(items, alphas, counts, strict=True):
            key = id(item.group), count, alpha
            if key not in rows:
                rows[key] = self._number_row(item.group, count, alpha)
            chosen.append(rows[key])
        found = torch.tensor(chosen, dtype=torch.float32)
        if self._mask != "top":
            return torch.nn.functional.pad(found, (0, len(BRACKET)))
        around = [(self._brackets.get(item.name, NOWHERE), item.lr) for item in items]
        ends = [[b.middle * lr * (1.0 - b.width), b.middle * lr * (1.0 + b.width)] for b, lr in around]
        return torch.cat([found, torch.tensor(ends, dtype=torch.float32)], dim=1)

    def _number_row(self, group: Mapping[str, Any], count: float, alpha: float) -> list[float]:
        """`NUMBERS` but for the bracket."""
        settings, lr = self._merger.settings, float(group["lr"])
        beta1, beta2 = group["betas"]
        root = math.sqrt(1 - beta2**count)
        rescale = 1.0 / settings.density if settings.rescale == "inverse" else 1.0
        rescaled = settings.clip is not None or settings.tau_is_fixed
        row = {
            "grad_share": 1 - beta1,
            "beta2": beta2,
            "square_share": 1 - beta2,
            "step_size": -lr / (1 - beta1**count) * root,
            "eps": group["eps"] * root,
            "kept": 1 - lr * group["weight_decay"],
            "decayed": lr * group["weight_decay"],
            "update_share": 1 - alpha,
            "rescale": rescale,
            "clip": settings.clip or 0.0,
            "update_weight": (1 - alpha) * rescale,
            "tau_weight": alpha if rescaled else alpha * rescale,
        }
        return [row[name] for name in NUMBERS[: -len(BRACKET)]]

    def _word_rows(self, items: Sequence[Item], step: int) -> Tensor:
        """`WORDS` of every parameter at this step, int32 `[parameters, words]`."""
        merger = self._merger
        seed, tau_step = merger.settings.seed, 0 if merger.settings.tau_is_fixed else step
        starts = torch.tensor([item.piece.block.start for item in items])
        keys = []
        streams = {"update": self._mask != "all", "task_vector": merger.merged_in, "rounding": self._stochastic}
        for stream, drawn in streams.items():
            at = tau_step if stream == "task_vector" else step
            if not drawn:
                keys += [torch.zeros_like(starts)] * 2
                continue
            first, second = mask_keys(seed, at, stream, self._name_words).unbind(1)
            keys += [first, second + first * starts]  # only the low 32 bits count
        limit = flipped(min(keep_limit(merger.settings.density), 2**32 - 1))
        cuts = self._tau_cuts(items, step)
        tail = torch.tensor([[limit, 0, flipped(0), cut.magnitude, flipped(cut.tie)] for cut in cuts])
        return torch.cat([torch.stack(keys, dim=1), tail], dim=1).to(torch.int32)

    def _tau_cuts(self, items: Sequence[Item], step: int) -> list[TopThreshold]:
        """The threshold of every task vector; notes which have entries tied at it."""
        merger = self._merger
        if self._mask != "top" or not merger.merged_in or merger.settings.tau_is_fixed:
            return [NO_CUT] * len(items)  # nothing to mask, or masked already
        cuts = [merger.tau_threshold(i.name, i.piece, step, i.weights.device) or NO_CUT for i in items]
        self._tau_tied = {item.name for item, cut in zip(items, cuts, strict=True) if cut.tie > 0}
        return cuts


def _padded(entries: int) -> int:
    return -(-entries // NEAR_COLUMN) * NEAR_COLUMN


_CUT = slice(WORDS.index("update_cut"), WORDS.index("update_tie") + 1)
