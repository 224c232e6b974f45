"""OnlineMergeAdamW: AdamW whose every K-th step merges its displacement with the task vector (arXiv:2405.17931)."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from omsweep.merging.names import canonical_name
from omsweep.merging.randomness import entry_bits, uniform_bits
from omsweep.optim.adam_update import Item, advance_moments, update_of, whole_update
from omsweep.optim.compiled import FusedStep, fused_step
from omsweep.optim.diagnostics import Ledger, Moved
from omsweep.optim.merger import Asked, Merger
from omsweep.optim.parameters import (
    NamedParameters,
    check_hyperparameters,
    check_saved,
    check_tensor,
    each,
    open_groups,
    restore_precision,
)
from omsweep.optim.precision import (
    LAZY_STEPS,
    add_stochastic,
    master_state,
    precision_for,
    read_weights,
    write_weights,
)
from omsweep.optim.settings import OnlineMerge
from omsweep.optim.sharding import Piece, check_same_shape, is_sharded, local, piece_of
from omsweep.optim.watched import NO_TOTALS

# Saved in the state dict, beside what torch puts into groups. tau, theta_r, masks and sample indices are rebuilt.
STATE_KEYS = ("step", "exp_avg", "exp_avg_sq", "gap_update", "start_sample", "merged_sample")
# Besides, where precision or method ask for them: low_bits, master, pending_tau, average.
GROUP_KEYS = ("steps_taken", "gap_steps", "constructed_lr", "merge_totals", "precision")


class OnlineMergeAdamW(Optimizer):
    """One step, for a group with lr > 0 (a group with lr == 0 moves no weight and merges nothing):

        theta <- theta * (1 - lr * weight_decay)
        theta <- theta + C((1 - alpha) * S(delta), alpha * S(tau))                          K = 1
        theta <- theta + (delta + (C((1 - alpha) * S(Delta), alpha * S(tau)) - Delta))      K > 1, when t mod K = 0
        theta <- theta + delta                                                              K > 1, otherwise

    delta is AdamW's displacement, Delta its sum over the gap. t counts the calls of `step`, from 1, but not a call
    with every lr 0 and every gradient 0 or None, which only lays out the state (torch.distributed.checkpoint makes
    one). With `adamw` this is torch.optim.AdamW, bit for bit in float32 on CPU. A parameter whose gradient is None is
    skipped, its part of tau included.

    Parameters may be plain tensors (also under DDP) or DTensors (FSDP2, HSDP): on one path masks, thresholds and
    weights do not depend on how tensors are cut. State is laid out at the first step, where a parameter may have been
    replaced by its sharded self since. Where parameters are sharded, `step`, `state_dict` and `diagnostics` are
    collective.

    Moments are float32 whatever the parameters are; see `omsweep.optim.precision` for the weights.

    Args:
        named_parameters: (name, tensor) pairs, such as `model.named_parameters()`, or a list of groups
            `{"params": pairs, "weight_decay": ...}`.
        merge: what to merge.
        task_vector: tau by canonical name; needed where alpha > 0 or the election is unweighted. float32 or a 16-bit
            type; full tensors (memory-mapped ones are not copied), or DTensors placed like the parameters.
        reference: theta_r by canonical name, for `anchor`. Like tau it is not saved in the state dict: give it anew.
        lr: learning rate, >= 0.
        betas: decay of the two moments, each in [0, 1).
        eps: added to the corrected sqrt(v), >= 0.
        weight_decay: decoupled, >= 0.
        precision: `nearest`, `stochastic`, `lazy_tau`, or `auto`, which picks one of the first two and says so in the
            attribute `precision` and in the log.
        path: `plain`, `compiled`, `reference`, or `auto`: compiled for large models where it can be, else plain; where
            compiling fails it warns, before any weight has moved. Each process decides for itself.

    Raises:
        ValueError: a value out of range, parameters that cannot be trained here (FSDP1, DeepSpeed ZeRO), or a task
            vector or reference that is missing or does not fit.
    """

    def __init__(
        self,
        named_parameters: NamedParameters,
        merge: OnlineMerge,
        task_vector: Mapping[str, Tensor] | None = None,
        reference: Mapping[str, Tensor] | None = None,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        precision: str = "auto",
        path: str = "auto",
    ) -> None:
        self._names: list[list[str]] = []
        self._built = False
        defaults = {
            "lr": lr,
            "betas": tuple(betas),
            "eps": eps,
            "weight_decay": weight_decay,
            "steps_taken": 0,
            "gap_steps": merge.gap_steps,
            "merge_totals": NO_TOTALS,
        }
        super().__init__(open_groups(named_parameters), defaults)
        self._built = True
        parameters = self._parameters()
        self.precision = precision_for(precision, merge.resolved(), parameters)
        for group in self.param_groups:
            group["precision"] = self.precision
        self._shapes = {name: tuple(parameter.shape) for name, parameter in parameters.items()}
        self._pieces: dict[str, Piece] = {}
        self._known: dict[str, tuple[Tensor, int, Piece, Tensor, dict[str, Any]]] = {}
        self._merger = Merger(merge, parameters, task_vector=task_vector, reference=reference, path=path)
        self._ledger = Ledger(self._merger, [p.numel() for p in parameters.values() if p.requires_grad])
        self._fused: FusedStep | None = fused_step(path, self._merger, self.precision, parameters)

    @property
    def path(self) -> str:
        """Which implementation runs: `plain`, `compiled` or `reference`."""
        if self._fused is not None:
            return "compiled"
        return "reference" if self._merger.literal else "plain"

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Used by the constructor; groups are fixed afterwards, because tau was checked against them."""
        if self._built:
            raise ValueError("parameter groups are fixed when the optimizer is built, got another one")
        super().add_param_group(param_group)
        check_hyperparameters(param_group)
        param_group["constructed_lr"] = float(param_group["lr"])
        self._names.append([canonical_name(name) for name in param_group["param_names"]])

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Take one step; `closure` re-evaluates the loss, which is returned."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        if not self._counts():
            self._items()
            return loss
        step = self.param_groups[0]["steps_taken"] + 1
        for group in self.param_groups:
            group["steps_taken"] = step
        items = self._items()
        if self._fused is not None:
            items = self._fused.step(items, step, self._ledger)
            self._fused = None if self._fused.failed else self._fused
        self._step_plainly(items, step)
        self._ledger.close_step()
        if self.precision == "lazy_tau" and step % LAZY_STEPS == 0:
            self.flush()
        return loss

    @torch.no_grad()
    def flush(self) -> None:
        """Add task vector parts that `lazy_tau` still owes; to be called before evaluating or saving the model."""
        for name, parameter in self._parameters().items():
            if float(self.state.get(parameter, {}).get("pending_tau", 0.0)) != 0.0:
                self._flush(name, local(parameter.detach()), _local(self._state_of(name, parameter)))
        self._ledger.close_step()

    def diagnostics(self) -> dict[str, float]:
        """What merging did: `tau_travel`, `displacement`, `merged_share` and the others of `docs/notation.md`.

        From sampled entries with float64 sums, some with a standard error (`_se`); NaN where nothing was measured.
        `omsweep.merging.split.split` measures where a model ended from all of its weights.
        """
        parameters = {n: p for n, p in self._parameters().items() if p.requires_grad or p in self.state}
        states = {name: _local(self.state.get(parameter, {})) for name, parameter in parameters.items()}
        pieces = {name: self._piece(name, parameter) for name, parameter in parameters.items()}
        held = {name: read_weights(local(parameter), states[name]) for name, parameter in parameters.items()}
        return self._ledger.report(held, pieces, states)

    def updates(self) -> dict[str, Tensor]:
        """AdamW's displacement of the last step, by canonical name, at the groups' present learning rates.

        Formed anew from the moments; parameters that have not moved yet are left out.
        """
        return {
            name: update_of(self.state[parameter], group)
            for name, parameter, group in each(self.param_groups, self._names)
            if self.state.get(parameter, {}).get("step", 0) > 0
        }

    def state_dict(self) -> dict[str, Any]:
        """Torch's state dict; only tensors, numbers, strings, tuples and lists, and no tau."""
        states = {name: self.state[p] for name, p in self._parameters().items() if p in self.state}
        self._ledger.save(self.param_groups, states)
        return super().state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load what `state_dict` gave, moments in the precision they were saved in.

        Raises:
            ValueError: groups or names differ, it was not saved by this class, or with another `gap_steps` or
                `precision`.
        """
        check_saved(
            state_dict,
            names=self._names,
            keys=GROUP_KEYS,
            same={"gap_steps": self._merger.settings.gap_steps, "precision": self.precision},
        )
        super().load_state_dict(state_dict)
        restore_precision(self, state_dict)
        self._known.clear()
        if self._fused is not None:
            self._fused.forget()
        self._ledger.restore(self.param_groups[0]["merge_totals"])

    def _parameters(self) -> dict[str, Tensor]:
        return {name: parameter for name, parameter, _ in each(self.param_groups, self._names)}

    def _counts(self) -> bool:
        """Whether a call of `step` counts: not with every lr 0 and every gradient 0."""
        if any(float(group["lr"]) != 0.0 for group in self.param_groups):
            return True
        grads = (parameter.grad for group in self.param_groups for parameter in group["params"])
        return any(grad is not None and bool(grad.any()) for grad in grads)

    def _items(self) -> list[Item]:
        """Every parameter that has a gradient, its state laid out."""
        items = []
        for name, parameter, group in each(self.param_groups, self._names):
            grad = parameter.grad
            if grad is None:
                continue
            if grad.layout != torch.strided:
                raise ValueError(f"the gradient of {name} must be dense, got layout {grad.layout}")
            known = self._known.get(name)
            if (
                known is not None
                and known[0] is parameter
                and known[1] == parameter.data_ptr()
                and known[3].shape == parameter.shape
                and known[3].stride() == parameter.stride()
                and known[4] is self.state.get(parameter)
            ):
                _, _, piece, weights, state = known
                items.append(Item(name, parameter, piece, weights, grad, state, group))
                continue
            state = self._state_of(name, parameter)
            piece, weights = self._pieces[name], local(parameter).detach()
            if is_sharded(parameter):
                state = _local(state)
            else:
                self._known[name] = (parameter, parameter.data_ptr(), piece, weights, state)
            items.append(Item(name, parameter, piece, weights, local(grad), state, group))
        return items

    def _piece(self, name: str, parameter: Tensor) -> Piece:
        if name not in self._pieces:
            self._pieces[name] = piece_of(name, parameter)
        return self._pieces[name]

    def _state_of(self, name: str, parameter: Tensor) -> dict[str, Any]:
        state: dict[str, Any] = self.state[parameter]
        if not state:
            check_tensor(name, parameter)
            check_same_shape(name, parameter, self._shapes[name])
            self._pieces[name] = piece_of(name, parameter)
            state["step"] = torch.tensor(0.0)
            moments = ("exp_avg", "exp_avg_sq") + (("gap_update",) if self._merger.settings.gap_steps > 1 else ())
            for key in moments:
                state[key] = torch.zeros_like(parameter, dtype=torch.float32)
            state |= master_state(parameter, self.precision)
            if self.precision == "lazy_tau":
                state["pending_tau"] = torch.tensor(0.0, dtype=torch.float64)
            if self._merger.method.pull == "average":
                state["average"] = parameter.detach().to(torch.float32, copy=True)
            self._ledger.open_state(name, local(parameter.detach()), self._pieces[name], state)
        self._ledger.watch(name, local(parameter.detach()), self._piece(name, parameter))
        return state

    def _step_plainly(self, items: list[Item], step: int) -> None:
        for item in items:
            beta1, beta2 = item.group["betas"]
            state = item.state
            advance_moments(item.grad.float(), state["exp_avg"], state["exp_avg_sq"], beta1=beta1, beta2=beta2)
            state["step"] += 1
        moving = [item for item in items if item.lr != 0.0]
        facts: dict[str, Any] = {}
        if self._merger.merges_at(step):
            facts = self._merger.update_facts(
                [Asked(i.name, i.piece, i.weights.device, whole_update(i)) for i in moving], step
            )
        for item in moving:
            self._move(item, step, facts.get(item.name))

    def _move(self, item: Item, step: int, facts: Any) -> None:
        state, merger, update = item.state, self._merger, update_of(item.state, item.group)
        kept = 1 - item.lr * item.group["weight_decay"]
        gap_update = state.get("gap_update")
        if gap_update is not None:
            gap_update.add_(update)
        if "pending_tau" in state:
            state["pending_tau"].mul_(kept)
        weights = read_weights(item.weights, state)
        if not merger.merges_at(step):
            self._add(item, weights, update, kept, step)
            return
        alpha = merger.alpha(item.name, lr=item.lr, constructed_lr=item.group["constructed_lr"])
        watched = self._ledger.watched(item.name)
        rounded_to = item.weights.dtype if self.precision == "nearest" else torch.float64
        here = watched.take(weights)
        if merger.method.pull != "none":
            plain = weights * kept + update
            pull = merger.pull(item.name, plain, state.get("average"), alpha, item.piece)
            new = self._add(item, weights, update, kept, step, pull=pull)
            if "average" in state:
                state["average"].lerp_(new, merger.settings.average_rate or 0.0)
            seen = {"plain": plain, "after": new, "update": update, "pull": pull}
            seen = {key: watched.take(value) for key, value in seen.items()}
            self._ledger.record_pull(item.name, state, **seen, alpha=alpha, rounded_to=rounded_to)
            return
        whole = update if gap_update is None else gap_update
        merged = merger.merge(item.name, whole, item.piece, step=step, alpha=alpha, facts=facts)
        deferred = "pending_tau" in state and merged.tau_kept is not None
        movement = merged.update_kept if deferred else merged.movement
        if gap_update is not None:
            movement = merger.gap_movement(update, gap_update, movement)
        if deferred:
            state["pending_tau"].add_(alpha)
        self._add(item, weights, movement, kept, step)

        def stored(movement: Tensor) -> Tensor:
            bits = self._rounding_bits(item, step, watched.entries)
            new = _summed(here.clone(), movement, kept, bits)
            return new.to(item.weights.dtype).float() if self.precision == "nearest" else new

        moved = Moved(here * kept, stored, update, gap_update, rounded_to)
        self._ledger.record_merge(item.name, state, moved=moved, merged=merged, alpha=alpha, deferred=deferred)
        if gap_update is not None:
            gap_update.zero_()

    def _add(
        self, item: Item, weights: Tensor, movement: Tensor, kept: float, step: int, pull: Tensor | None = None
    ) -> Tensor:
        """Decay and move the weights as the precision says, put them back, and return them as they are held now."""
        bits = self._rounding_bits(item, step)
        new = _summed(weights, movement, kept, bits, pull)
        write_weights(item.weights, new, item.state)
        return read_weights(item.weights, item.state)

    def _rounding_bits(self, item: Item, step: int, entries: Tensor | None = None) -> Tensor | None:
        """The bits that round a parameter's piece, or flat `entries` of it; None where it is rounded to nearest."""
        if self.precision != "stochastic":
            return None
        key, block = self._merger.rounding_key(item.name, step), item.piece.block
        if entries is not None:
            return entry_bits(block.index_of(entries), key)
        bits = uniform_bits(item.weights.numel(), key, block=block, device=item.weights.device)
        return bits.view(item.weights.shape)

    def _flush(self, name: str, weights: Tensor, state: dict[str, Any]) -> None:
        piece, take = self._pieces[name], self._ledger.watched(name).take
        part = float(state["pending_tau"]) * self._merger.sparse_tau(name, piece, 0, weights.device)
        held = read_weights(weights, state)
        before = take(held)
        write_weights(weights, held.add_(part), state)
        after = take(read_weights(weights, state))
        state["pending_tau"].zero_()
        self._ledger.record_flush(name, state, part=take(part), before=before, after=after, rounded_to=torch.float64)


def _summed(weights: Tensor, movement: Tensor, kept: float, bits: Tensor | None, pull: Tensor | None = None) -> Tensor:
    """Weights decayed and moved, float32: in place and to nearest, or rounded by `bits` into a fresh tensor."""
    if bits is not None:
        total = movement if pull is None else movement + pull
        total = total if kept == 1.0 else total - (1 - kept) * weights
        return add_stochastic(weights, total, bits.view(weights.shape))
    new = weights.mul_(kept) if kept != 1.0 else weights
    new.add_(movement)
    return new if pull is None else new.add_(pull)


def _local(state: dict[str, Any]) -> dict[str, Any]:
    """A view of a state whose tensors lie here; writing into them writes the state."""
    return {key: local(value) for key, value in state.items()}
