"""OnlineMergeOptimizer: online merging around any torch optimizer."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from omsweep.optim.adamw import GROUP_KEYS
from omsweep.optim.diagnostics import NO_TOTALS, Ledger, Moved
from omsweep.optim.merger import Merger
from omsweep.optim.names import canonical_name
from omsweep.optim.parameters import open_groups
from omsweep.optim.saved_state import check_saved, restore_precision
from omsweep.optim.settings import OnlineMerge


class OnlineMergeOptimizer(Optimizer):
    """Lets `optimizer` step and merges what it did: delta = weights after its step - weights before.

    The inner optimizer's weight decay is part of delta, because it cannot be told apart. Where a merge keeps an update
    as it is, the inner optimizer's own weights stay, so alpha = 0 and density = 1 is that optimizer bit for bit. Groups
    and state are the inner optimizer's, shared: learning-rate schedulers and checkpoints see one optimizer.

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
        self._merger = Merger(merge, self._parameters(), task_vector=task_vector, reference=reference, path=path)
        self._ledger = Ledger(self._merger)

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
            for group, names in zip(self.param_groups, self._names, strict=True)
            for name, parameter in zip(names, group["params"], strict=True)
            if parameter.grad is not None
        ]
        idle = all(float(group["lr"]) == 0.0 for group in self.param_groups)
        counts = not idle or any(bool(parameter.grad.any()) for _, parameter, _ in moving)
        step = self.param_groups[0]["steps_taken"] + (1 if counts else 0)
        before = {name: parameter.detach().clone() for name, parameter, _ in moving}
        self._inner.step()
        for group in self.param_groups:
            group["steps_taken"] = step
        for name, parameter, group in moving:
            self._lay_out(name, before[name], self.state[parameter])
            if float(group["lr"]) == 0.0:
                parameter.copy_(before[name])
            else:
                self._merge(name, parameter, before[name].float(), group, step)
        self._ledger.close_step()
        return loss

    def diagnostics(self) -> dict[str, float]:
        """As `OnlineMergeAdamW.diagnostics`."""
        parameters = self._parameters()
        states = {name: self.state.get(parameter, {}) for name, parameter in parameters.items()}
        return self._ledger.report(parameters, states)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """As the inner optimizer does."""
        self._inner.zero_grad(set_to_none)

    def state_dict(self) -> dict[str, Any]:
        """The inner optimizer's state dict, with the merge's state beside its own; no tau."""
        totals = self._ledger.totals()
        for group in self.param_groups:
            group["merge_totals"] = totals
        return self._inner.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load what `state_dict` gave."""
        check_saved(state_dict, names=self._names, keys=GROUP_KEYS, gap_steps=self._merger.settings.gap_steps)
        self._inner.load_state_dict(state_dict)
        self._share()
        restore_precision(self, state_dict)
        self._ledger.restore(self.param_groups[0]["merge_totals"])

    def _share(self) -> None:
        self.param_groups = self._inner.param_groups
        self.state = self._inner.state

    def _parameters(self) -> dict[str, Tensor]:
        return {
            name: parameter
            for group, names in zip(self.param_groups, self._names, strict=True)
            for name, parameter in zip(names, group["params"], strict=True)
        }

    def _lay_out(self, name: str, start: Tensor, state: dict[str, Any]) -> None:
        if "start_sample" not in state:
            self._ledger.open_state(name, start, state)
            if self._merger.settings.gap_steps > 1:
                state["gap_update"] = torch.zeros_like(start, dtype=torch.float32)

    def _merge(self, name: str, parameter: Tensor, before: Tensor, group: dict[str, Any], step: int) -> None:
        state, merger, after = self.state[parameter], self._merger, parameter.detach().float()
        update = after - before
        gap_update = state.get("gap_update")
        if gap_update is not None:
            gap_update.add_(update)
        if not merger.merges_at(step):
            return
        alpha = merger.alpha(lr=float(group["lr"]), constructed_lr=group["constructed_lr"])
        take = self._ledger.watched(name, parameter).take
        if merger.method.pull is not None:
            plain, weights = take(after), merger.pulled(name, after, alpha)
            parameter.copy_(weights)
            self._ledger.record_pull(
                name, parameter, state, plain=plain, pulled=take(weights), update=update, alpha=alpha
            )
            return
        whole = update if gap_update is None else gap_update
        merged = merger.merge(name, whole, step=step, alpha=alpha)
        movement = merged.movement
        if gap_update is not None:
            movement = merger.gap_movement(update, gap_update, merged.movement)
        parameter.copy_(torch.where(merged.movement == whole, after, before + movement))
        moved = Moved(take(before), update, gap_update)
        self._ledger.record_merge(name, parameter, state, moved=moved, merged=merged, alpha=alpha)
        if gap_update is not None:
            gap_update.zero_()


def _names_of(optimizer: Optimizer, named_parameters: Iterable[tuple[str, Tensor]]) -> list[list[str]]:
    """Canonical names in the order of the optimizer's groups."""
    groups = open_groups(named_parameters)
    by_tensor = {id(tensor): canonical_name(name) for group in groups for name, tensor in group["params"]}
    unnamed = [p for group in optimizer.param_groups for p in group["params"] if id(p) not in by_tensor]
    if unnamed:
        raise ValueError(f"named_parameters must cover the optimizer's parameters, {len(unnamed)} have no name")
    return [[by_tensor[id(p)] for p in group["params"]] for group in optimizer.param_groups]
