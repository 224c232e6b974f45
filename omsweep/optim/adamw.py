"""OnlineMergeAdamW: AdamW whose every K-th step merges its displacement with the task vector (arXiv:2405.17931)."""

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from omsweep.optim.adam_update import adam_update, advance_moments
from omsweep.optim.diagnostics import NO_TOTALS, Ledger, Moved
from omsweep.optim.merger import Merger
from omsweep.optim.names import canonical_name
from omsweep.optim.parameters import NamedParameters, check_tensor, open_groups
from omsweep.optim.saved_state import check_saved, restore_precision
from omsweep.optim.settings import OnlineMerge

PRECISIONS = ("auto", "float32")

# Saved in the state dict, beside what torch puts into groups. tau, theta_r, masks and sample indices are rebuilt.
STATE_KEYS = ("step", "exp_avg", "exp_avg_sq", "gap_update", "start_sample", "merged_sample")
GROUP_KEYS = ("steps_taken", "gap_steps", "constructed_lr", "merge_totals")


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

    Moments are float32 whatever the parameters are. Low-precision parameters are computed in float32 and rounded once;
    `lost_update_share` says what rounding swallowed.

    Args:
        named_parameters: (name, tensor) pairs, such as `model.named_parameters()`, or a list of groups
            `{"params": pairs, "weight_decay": ...}`.
        merge: what to merge.
        task_vector: tau by canonical name; needed where alpha > 0 or the election is unweighted.
        reference: theta_r by canonical name, for `anchor`. Like tau it is not saved in the state dict: give it anew.
        lr: learning rate, >= 0.
        betas: decay of the two moments, each in [0, 1).
        eps: added to the corrected sqrt(v), >= 0.
        weight_decay: decoupled, >= 0.
        precision: `auto`, or `float32` to insist on float32 parameters.
        path: `auto`, `plain` or `reference`.

    Raises:
        ValueError: a value out of range, parameters that cannot be trained here (sharded ones among them), or a task
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
        _check_precision(precision, parameters)
        self._merger = Merger(merge, parameters, task_vector=task_vector, reference=reference, path=path)
        self._ledger = Ledger(self._merger)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Used by the constructor; groups are fixed afterwards, because tau was checked against them."""
        if self._built:
            raise ValueError("parameter groups are fixed when the optimizer is built, got another one")
        super().add_param_group(param_group)
        _check_hyperparameters(param_group)
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
            self._lay_out_state()
            return loss
        step = self.param_groups[0]["steps_taken"] + 1
        for group, names in zip(self.param_groups, self._names, strict=True):
            group["steps_taken"] = step
            for name, parameter in zip(names, group["params"], strict=True):
                if parameter.grad is not None:
                    self._step_parameter(name, parameter, group, step)
        self._ledger.close_step()
        return loss

    def diagnostics(self) -> dict[str, float]:
        """`tau_travel, merge_ratio, retained_share, displacement, tau_zero_share, lost_update_share, merged_share`.

        See `docs/notation.md`; sampled entries, float64 sums, NaN where nothing was measured.
        """
        parameters = self._parameters()
        states = {name: self.state.get(parameter, {}) for name, parameter in parameters.items()}
        return self._ledger.report(parameters, states)

    def updates(self) -> dict[str, Tensor]:
        """AdamW's displacement of the last step, by canonical name, at the groups' present learning rates.

        Formed anew from the moments; parameters that have not moved yet are left out.
        """
        found = {}
        for group, names in zip(self.param_groups, self._names, strict=True):
            for name, parameter in zip(names, group["params"], strict=True):
                if self.state.get(parameter, {}).get("step", 0) > 0:
                    found[name] = _update(self.state[parameter], group)
        return found

    def state_dict(self) -> dict[str, Any]:
        """Torch's state dict; only tensors, numbers, strings, tuples and lists, and no tau."""
        totals = self._ledger.totals()
        for group in self.param_groups:
            group["merge_totals"] = totals
        return super().state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load what `state_dict` gave, moments in the precision they were saved in.

        Raises:
            ValueError: groups or names differ, it was not saved by this class, or with another `gap_steps`.
        """
        check_saved(state_dict, names=self._names, keys=GROUP_KEYS, gap_steps=self._merger.settings.gap_steps)
        super().load_state_dict(state_dict)
        restore_precision(self, state_dict)
        self._ledger.restore(self.param_groups[0]["merge_totals"])

    def _parameters(self) -> dict[str, Tensor]:
        return {
            name: parameter
            for group, names in zip(self.param_groups, self._names, strict=True)
            for name, parameter in zip(names, group["params"], strict=True)
        }

    def _counts(self) -> bool:
        """Whether a call of `step` counts: not with every lr 0 and every gradient 0."""
        if any(float(group["lr"]) != 0.0 for group in self.param_groups):
            return True
        grads = (parameter.grad for group in self.param_groups for parameter in group["params"])
        return any(grad is not None and bool(grad.any()) for grad in grads)

    def _lay_out_state(self) -> None:
        for name, parameter in self._parameters().items():
            if parameter.grad is not None:
                self._state_of(name, parameter)

    def _state_of(self, name: str, parameter: Tensor) -> dict[str, Any]:
        state: dict[str, Any] = self.state[parameter]
        if not state:
            check_tensor(name, parameter)
            state["step"] = torch.tensor(0.0)
            moments = ("exp_avg", "exp_avg_sq") + (("gap_update",) if self._merger.settings.gap_steps > 1 else ())
            for key in moments:
                state[key] = torch.zeros_like(parameter, dtype=torch.float32)
            self._ledger.open_state(name, parameter, state)
        return state

    def _step_parameter(self, name: str, parameter: Tensor, group: dict[str, Any], step: int) -> None:
        assert parameter.grad is not None, name
        if parameter.grad.layout != torch.strided:
            raise ValueError(f"the gradient of {name} must be dense, got layout {parameter.grad.layout}")
        state, lr = self._state_of(name, parameter), float(group["lr"])
        beta1, beta2 = group["betas"]
        advance_moments(parameter.grad.float(), state["exp_avg"], state["exp_avg_sq"], beta1=beta1, beta2=beta2)
        state["step"] += 1
        if lr == 0.0:
            return
        weights = parameter.detach().float()  # the parameter itself when it is float32
        if group["weight_decay"] != 0:
            weights.mul_(1 - lr * group["weight_decay"])
        self._move(name, parameter, weights, _update(state, group), group, step)

    def _move(
        self, name: str, parameter: Tensor, weights: Tensor, update: Tensor, group: dict[str, Any], step: int
    ) -> None:
        state, merger = self.state[parameter], self._merger
        gap_update = state.get("gap_update")
        if gap_update is not None:
            gap_update.add_(update)
        if not merger.merges_at(step):
            _write(parameter, weights.add_(update))
            return
        alpha = merger.alpha(lr=float(group["lr"]), constructed_lr=group["constructed_lr"])
        take = self._ledger.watched(name, parameter).take
        if merger.method.pull is not None:
            plain = take(weights.add_(update))
            weights.copy_(merger.pulled(name, weights, alpha))
            pulled = take(weights)
            _write(parameter, weights)
            self._ledger.record_pull(name, parameter, state, plain=plain, pulled=pulled, update=update, alpha=alpha)
            return
        before = take(weights)
        merged = merger.merge(name, update if gap_update is None else gap_update, step=step, alpha=alpha)
        movement = merged.movement
        if gap_update is not None:
            movement = merger.gap_movement(update, gap_update, merged.movement)
        _write(parameter, weights.add_(movement))
        moved = Moved(before, update, gap_update)
        self._ledger.record_merge(name, parameter, state, moved=moved, merged=merged, alpha=alpha)
        if gap_update is not None:
            gap_update.zero_()


def _update(state: dict[str, Any], group: dict[str, Any]) -> Tensor:
    beta1, beta2 = group["betas"]
    return adam_update(
        state["exp_avg"],
        state["exp_avg_sq"],
        step=float(state["step"]),
        lr=float(group["lr"]),
        beta1=beta1,
        beta2=beta2,
        eps=group["eps"],
    )


def _write(parameter: Tensor, weights: Tensor) -> None:
    if parameter.dtype != torch.float32:
        parameter.copy_(weights)


def _check_hyperparameters(group: dict[str, Any]) -> None:
    for name in ("lr", "eps", "weight_decay"):
        if not float(group[name]) >= 0.0:
            raise ValueError(f"{name} must be >= 0, got {group[name]!r}")
    if len(group["betas"]) != 2 or not all(0.0 <= beta < 1.0 for beta in group["betas"]):
        raise ValueError(f"betas must be two numbers in [0, 1), got {group['betas']!r}")


def _check_precision(precision: str, parameters: Mapping[str, Tensor]) -> None:
    if precision not in PRECISIONS:
        raise ValueError(f"precision must be one of {', '.join(PRECISIONS)}, got {precision!r}")
    low = [name for name, parameter in parameters.items() if parameter.dtype != torch.float32]
    if low and precision == "float32":
        raise ValueError(f"precision float32 needs float32 parameters, got {parameters[low[0]].dtype} ({low[0]})")
    if low:
        warnings.warn(
            f"{len(low)} parameters are {parameters[low[0]].dtype}: steps smaller than half their spacing are lost to "
            "rounding; lost_update_share in diagnostics() says how much",
            stacklevel=3,
        )
