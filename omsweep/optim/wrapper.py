"""OnlineMergeOptimizer: online merging around any torch optimizer."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from omsweep.merging.names import canonical_name
from omsweep.optim.adamw import GROUP_KEYS
from omsweep.optim.diagnostics import STATE_KEYS, Ledger, Moved
from omsweep.optim.merger import Asked, Merger
from omsweep.optim.parameters import check_saved, each, open_groups, restore_precision
from omsweep.optim.precision import master_state, read_weights, write_weights
from omsweep.optim.settings import OnlineMerge
from omsweep.optim.sharding import Piece, check_same_shape, local, piece_of
from omsweep.optim.watched import NO_TOTALS

MASTER_KEYS = ("low_bits", "master")
"""Of the state of a low-precision parameter, see `omsweep.optim.precision`."""


class OnlineMergeOptimizer(Optimizer):
    """Lets `optimizer` step and merges what it did: delta = weights after its step - weights before.

    It works for any torch optimizer (SGD, Muon, Adafactor, 8-bit AdamW), over DTensors where that one does. Its weight
    decay is part of delta, because it cannot be told apart. Where a merge keeps an update as it is, the inner
    optimizer's own weights stay, so alpha = 0 and density = 1 is that optimizer bit for bit. Groups and state are the
    inner optimizer's, shared: learning-rate schedulers and checkpoints see one optimizer. What a 16-bit weight cannot
    hold of a merge is kept in the state, 2 bytes for a bfloat16 and 4 for a float16; what the inner optimizer itself
    loses to rounding is lost.

    Args:
        optimizer: any torch optimizer over dense parameters.
        named_parameters: (name, tensor) pairs that cover its parameters.
        merge: what to merge.
        task_vector: tau by canonical name, where it takes part.
        reference: theta_r by canonical name, for `anchor`.
        path: `auto`, `plain` or `reference`.

    Raises:
        ValueError: a parameter of `optimizer` has no name, or as in `OnlineMergeAdamW`.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        named_parameters: Iterable[tuple[str, Tensor]],
        merge: OnlineMerge,
        task_vector: Mapping[str, Tensor] | None = None,
        reference: Mapping[str, Tensor] | None = None,
        path: str = "auto",
    ) -> None:
        self._names = _names_of(optimizer, named_parameters)
        self._inner = optimizer
        self._built = False
        super().__init__([dict(group) for group in optimizer.param_groups], optimizer.defaults)
        self._built = True
        self._share()
        for group in self.param_groups:
            group.setdefault("steps_taken", 0)
            group.setdefault("constructed_lr", float(group["lr"]))
            group.setdefault("merge_totals", NO_TOTALS)
            group.setdefault("gap_steps", merge.gap_steps)
            group.setdefault("precision", "nearest")
        if path == "compiled":
            raise ValueError("path must be auto, plain or reference around another optimizer, got compiled")
        parameters = self._parameters()
        self._shapes = {name: tuple(parameter.shape) for name, parameter in parameters.items()}
        self._pieces: dict[str, Piece] = {}
        self._merger = Merger(merge, parameters, task_vector=task_vector, reference=reference, path=path)
        self._ledger = Ledger(self._merger, [p.numel() for p in parameters.values() if p.requires_grad])

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Used by the constructor; groups are fixed afterwards."""
        if self._built:
            raise ValueError("parameter groups are fixed when the optimizer is built, got another one")
        super().add_param_group(param_group)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Take one step; `closure` re-evaluates the loss, which is returned."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        moving = [
            (name, parameter, group)
            for name, parameter, group in each(self.param_groups, self._names)
            if parameter.grad is not None
        ]
        idle = all(float(group["lr"]) == 0.0 for group in self.param_groups)
        counts = not idle or any(bool(parameter.grad.any()) for _, parameter, _ in moving)
        step = self.param_groups[0]["steps_taken"] + (1 if counts else 0)
        before = {name: local(parameter.detach()).clone() for name, parameter, _ in moving}
        self._inner.step()
        for group in self.param_groups:
            group["steps_taken"] = step
        for name, parameter, _ in moving:
            self._lay_out(name, parameter, before[name])
        merges, moved = self._merger.merges_at(step), [item for item in moving if float(item[2]["lr"]) != 0.0]
        for name, parameter, group in moving:
            if float(group["lr"]) == 0.0:
                local(parameter.detach()).copy_(before[name])
                continue
            if self._merger.settings.gap_steps > 1:
                local(self.state[parameter]["gap_update"]).add_(_difference(parameter, before[name]))
            if not merges and parameter.dtype != torch.float32:
                state, update = self._local_state(parameter), _difference(parameter, before[name])
                write_weights(local(parameter.detach()), read_weights(before[name], state) + update, state)
        if merges:
            asked = [Asked(n, self._pieces[n], p.device, self._whole_update(p, before[n])) for n, p, _ in moved]
            facts = self._merger.update_facts(asked, step)
            for name, parameter, group in moved:
                self._merge(name, parameter, before[name], group, step, facts.get(name))
        self._ledger.close_step()
        return loss

    def diagnostics(self) -> dict[str, float]:
        """As `OnlineMergeAdamW.diagnostics`."""
        parameters = {n: p for n, p in self._parameters().items() if p.requires_grad or p in self.state}
        states = {name: self._local_state(parameter) for name, parameter in parameters.items()}
        for name, parameter in parameters.items():
            self._pieces.setdefault(name, piece_of(name, parameter))
        held = {name: read_weights(local(parameter), states[name]) for name, parameter in parameters.items()}
        return self._ledger.report(held, self._pieces, states)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """As the inner optimizer does."""
        self._inner.zero_grad(set_to_none)

    def state_dict(self) -> dict[str, Any]:
        """The inner optimizer's state dict, with the merge's state beside its own; no tau."""
        states = {name: self.state[p] for name, p in self._parameters().items() if p in self.state}
        self._ledger.save(self.param_groups, states)
        return self._inner.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load what `state_dict` gave."""
        same = {"gap_steps": self._merger.settings.gap_steps, "precision": "nearest"}
        check_saved(state_dict, names=self._names, keys=GROUP_KEYS, same=same)
        self._inner.load_state_dict(state_dict)
        self._share()
        restore_precision(self, state_dict)
        self._ledger.restore(self.param_groups[0]["merge_totals"])

    def _share(self) -> None:
        self.param_groups = self._inner.param_groups
        self.state = self._inner.state

    def _parameters(self) -> dict[str, Tensor]:
        return {name: parameter for name, parameter, _ in each(self.param_groups, self._names)}

    def _local_state(self, parameter: Tensor) -> dict[str, Any]:
        """What diagnostics and low-precision weights read of a state; tensors that lie here, sharing memory."""
        state = self.state.get(parameter, {})
        return {key: local(state[key]) for key in (*STATE_KEYS, *MASTER_KEYS) if key in state}

    def _lay_out(self, name: str, parameter: Tensor, start: Tensor) -> None:
        state = self.state[parameter]
        if "start_sample" not in state:
            check_same_shape(name, parameter, self._shapes[name])
            self._pieces[name] = piece_of(name, parameter)
        piece = self._pieces.setdefault(name, piece_of(name, parameter))
        self._ledger.watch(name, start, piece)
        if "start_sample" not in state:
            self._ledger.open_state(name, start, self._pieces[name], state)
            state |= master_state(parameter, "stochastic")
            if "master" in state:
                local(state["master"]).copy_(start)
            if self._merger.settings.gap_steps > 1:
                state["gap_update"] = torch.zeros_like(parameter, dtype=torch.float32)
            if self._merger.method.pull == "average":
                state["average"] = torch.zeros_like(parameter, dtype=torch.float32)
                local(state["average"]).copy_(start)

    def _whole_update(self, parameter: Tensor, before: Tensor) -> Callable[[], Tensor]:
        if self._merger.settings.gap_steps > 1:
            return lambda: local(self.state[parameter]["gap_update"])
        return lambda: _difference(parameter, before)

    def _merge(
        self, name: str, parameter: Tensor, before: Tensor, group: dict[str, Any], step: int, facts: Any
    ) -> None:
        state, merger, weights = self.state[parameter], self._merger, local(parameter.detach())
        own, piece, update = self._local_state(parameter), self._pieces[name], _difference(parameter, before)
        held = read_weights(before, own)
        after = weights.float() if weights.dtype == torch.float32 else held + update
        gap_update = local(state["gap_update"]) if "gap_update" in state else None
        alpha = merger.alpha(name, lr=float(group["lr"]), constructed_lr=group["constructed_lr"])
        take = self._ledger.watched(name).take
        if merger.method.pull != "none":
            average = local(state["average"]) if "average" in state else None
            plain, pull = take(after), merger.pull(name, after, average, alpha, piece)
            new = after + pull
            write_weights(weights, new, own)
            if average is not None:
                average.lerp_(new, merger.settings.average_rate or 0.0)
            seen = {"plain": plain, "after": take(new), "update": take(update), "pull": take(pull)}
            self._ledger.record_pull(name, state, **seen, alpha=alpha, rounded_to=torch.float32)
            return
        whole = update if gap_update is None else gap_update
        merged = merger.merge(name, whole, piece, step=step, alpha=alpha, facts=facts)
        movement = merged.movement
        if gap_update is not None:
            movement = merger.gap_movement(update, gap_update, merged.movement)
        here = take(held)
        write_weights(weights, torch.where(merged.movement == whole, after, held + movement), own)
        moved = Moved(here, lambda movement: here + movement, update, gap_update, torch.float32)
        self._ledger.record_merge(name, state, moved=moved, merged=merged, alpha=alpha, deferred=False)
        if gap_update is not None:
            gap_update.zero_()


def _difference(parameter: Tensor, before: Tensor) -> Tensor:
    """What the inner optimizer did, float32."""
    return local(parameter.detach()).float() - before.float()


def _names_of(optimizer: Optimizer, named_parameters: Iterable[tuple[str, Tensor]]) -> list[list[str]]:
    """Canonical names in the order of the optimizer's groups."""
    groups = open_groups(named_parameters)
    by_tensor = {id(tensor): canonical_name(name) for group in groups for name, tensor in group["params"]}
    unnamed = [p for group in optimizer.param_groups for p in group["params"] if id(p) not in by_tensor]
    if unnamed:
        raise ValueError(f"named_parameters must cover the optimizer's parameters, {len(unnamed)} have no name")
    return [[by_tensor[id(p)] for p in group["params"]] for group in optimizer.param_groups]
