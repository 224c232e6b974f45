"""A parameter as a step meets it, and the displacement that AdamW would give it."""

from collections.abc import Callable
from typing import Any, NamedTuple

from torch import Tensor

from omsweep.optim.adam_update import adam_update
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


def whole_update(item: Item) -> Callable[[], Tensor]:
    """What is about to be merged: the gap's sum with the update that the step will add to it, or the update."""

    def whole() -> Tensor:
        update, gap_update = update_of(item.state, item.group), item.state.get("gap_update")
        return update if gap_update is None else gap_update + update

    return whole


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
