"""What the compiled path keeps of a parameter: the matrices that kernels take, and where its threshold is sought."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from omsweep.optim.adam_update import Item
from omsweep.optim.inductor import Kernel
from omsweep.optim.kernels import Held, Kind

NARROWEST_ROW, WIDEST_ROW = 64, 2**16
VIEWED = ("exp_avg", "exp_avg_sq", "merged_sample", "low_bits")
"""Of a parameter's state, what kernels read or write."""
NARROWEST, WIDEST = 0.005, 0.25
"""A threshold is first sought this near the last step's, relative to it, and everywhere if it is not there."""


class Flat(NamedTuple):
    """One parameter as kernels take it.

    Attributes:
        held: what stays the same tensor from step to step.
        given: of those, what `whole_step` and `merge_step` are called with.
        moments: float32.
        shape: of all of these.
        kind: of the kernels.
        kernels: of a top-p step, `advance` and `merge_step`; otherwise `whole_step`.
        views_of: the tensors that these are views of.
        grad_dtype: of the gradients that the kernels take.
    """

    held: Held
    given: tuple[Tensor, ...]
    moments: tuple[Tensor, Tensor]
    shape: torch.Size
    kind: Kind
    kernels: tuple[Kernel, ...]
    views_of: Mapping[str, Tensor]
    grad_dtype: torch.dtype

    def serves(self, item: Item) -> bool:
        """Whether its tensors are still those of the parameter."""
        state, of = item.state, self.views_of
        return (
            item.grad.dtype is self.grad_dtype
            and of["weights"] is item.weights
            and of["exp_avg"] is state["exp_avg"]
            and of["exp_avg_sq"] is state["exp_avg_sq"]
            and of["merged_sample"] is state["merged_sample"]
            and of.get("low_bits") is state.get("low_bits")
        )


def plane(shape: Sequence[int]) -> tuple[int, int]:
    """Rows and columns as which a kernel takes a contiguous tensor: those of a matrix, unless it is one long row."""
    entries, columns = math.prod(shape), shape[-1] if shape else 1
    if len(shape) < 2 or not NARROWEST_ROW <= columns <= WIDEST_ROW:
        columns = math.gcd(entries, 4096)
    return (entries // columns, columns) if columns >= NARROWEST_ROW else (1, entries)


class Bracket(NamedTuple):
    """Where the threshold of an update is sought first, in units of the learning rate.

    Attributes:
        cut: the last one.
        middle: the next one if it goes on changing at the same rate.
        width: how far aside it is sought, relative to `middle`.
    """

    cut: float
    middle: float
    width: float

    def after(self, cut: float) -> "Bracket":
        """The next one, once the threshold was found; the wider the farther that lay from the middle."""
        if not all(0.0 < value < math.inf for value in (cut, *self[:2])):
            return Bracket(cut, cut, WIDEST)
        missed = abs(cut / self.middle - 1.0)
        return Bracket(cut, cut * cut / self.cut, min(max(3.0 * missed, 0.5 * self.width, NARROWEST), WIDEST))


NOWHERE = Bracket(0.0, 0.0, 0.0)
