"""Where a model ended, split along a task vector: theta_T - theta_r = a tau + r, with r orthogonal to tau."""

import math
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

CHUNK_ENTRIES = 2**20


class Split(NamedTuple):
    """A movement split along tau; NaN where there is no tau, or tau is 0.

    Attributes:
        travel: a = <theta_T - theta_r, tau> / <tau, tau>, share of tau.
        residual: |r|, as the weights.
        displacement: |theta_T - theta_r|, as the weights.
    """

    travel: float
    residual: float
    displacement: float


@torch.no_grad()
def split(end: Mapping[str, Tensor], start: Mapping[str, Tensor], task_vector: Mapping[str, Tensor] | None) -> Split:
    """Split the movement from `start` to `end`; float64 sums over chunks of one tensor after another.

    Args:
        end: theta_T, whole tensors by canonical name, tied ones once, on any device.
        start: theta_r, the same names and shapes.
        task_vector: tau, the same; what it lacks counts as 0. None where the family has none.

    Raises:
        KeyError: a name that `start` lacks.
    """
    moved = along = square = 0.0
    for name, weights in end.items():
        tau = None if task_vector is None else task_vector.get(name)
        for low in range(0, weights.numel(), CHUNK_ENTRIES):
            part = slice(low, low + CHUNK_ENTRIES)
            step = _chunk(weights, part, weights) - _chunk(start[name], part, weights)
            moved += float(step.square().sum())
            if tau is not None:
                direction = _chunk(tau, part, weights)
                along += float((step * direction).sum())
                square += float(direction.square().sum())
    if square == 0.0:
        return Split(math.nan, math.nan, math.sqrt(moved))
    return Split(along / square, math.sqrt(max(0.0, moved - along * along / square)), math.sqrt(moved))


def _chunk(tensor: Tensor, part: slice, like: Tensor) -> Tensor:
    return tensor.reshape(-1)[part].to(like.device, torch.float64)
