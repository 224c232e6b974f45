"""A parameter as a step meets it, and AdamW's displacement of it, in the form torch.optim.AdamW has on CPU."""

from collections.abc import Callable
from typing import Any, NamedTuple

from torch import Tensor

from omsweep.optim.sharding import Piece


class Item(NamedTuple):
    """A parameter with a gradient: `parameter` is what the group holds, `weights`, `grad` and `state` lie here."""

    name: str
    parameter: Tensor
    piece: Piece
    weights: Tensor
    grad: Tensor
    state: dict[str, Any]
    group: dict[str, Any]

    @property
    def lr(self) -> float:
        """The group's present learning rate."""
        return float(self.group["lr"])


def advance_moments(grad: Tensor, exp_avg: Tensor, exp_avg_sq: Tensor, *, beta1: float, beta2: float) -> None:
    """Move both moments one step, in place; all float32, one shape."""
    exp_avg.lerp_(grad, 1 - beta1)
    exp_avg_sq.mul_(beta2).addcmul_(grad, grad, value=1 - beta2)


def adam_update(
    exp_avg: Tensor,
    exp_avg_sq: Tensor,
    *,
    step: float,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
) -> Tensor:
    """delta = -lr / bc1 * m / (sqrt(v) / sqrt(bc2) + eps), bc = 1 - beta^step: bias-corrected, without weight decay.

    In this order `weights + delta` is torch.optim.AdamW's result bit for bit in float32 on CPU.

    Args:
        exp_avg: m, float32.
        exp_avg_sq: v, float32.
        step: number of moment updates so far, from 1.
        lr: learning rate.
        beta1: decay of m.
        beta2: decay of v.
        eps: added to the corrected sqrt(v).
    """
    step_size = lr / (1 - beta1**step)
    denominator = (exp_avg_sq.sqrt() / (1 - beta2**step) ** 0.5).add_(eps)
    return exp_avg.mul(-step_size).div_(denominator)


def update_of(state: dict[str, Any], group: dict[str, Any]) -> Tensor:
    """AdamW's displacement from moments that were advanced already, at the group's present learning rate."""
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


def whole_update(item: Item) -> Callable[[], Tensor]:
    """What is about to be merged: the gap's sum with the update that the step will add to it, or the update."""

    def whole() -> Tensor:
        update, gap_update = update_of(item.state, item.group), item.state.get("gap_update")
        return update if gap_update is None else gap_update + update

    return whole
