"""Which entries of a full tensor, read row-major, a local piece of it holds."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class Block(NamedTuple):
    """A piece cut out along one dimension: local entry i is entry `start + i // run * stride + i % run` of the whole.

    Attributes:
        total: entries of the full tensor.
        start: row-major index of the first local entry.
        run: local entries that are neighbours in the full tensor too.
        stride: distance between the starts of two runs.
    """

    total: int
    start: int
    run: int
    stride: int

    @property
    def contiguous(self) -> bool:
        """Whether the local entries are one run, or each run follows the last."""
        return self.run == self.stride

    def index_of(self, positions: Tensor) -> Tensor:
        """Row-major indices in the full tensor of local positions; both int64."""
        if self.contiguous:
            return positions + self.start
        rows = torch.div(positions, self.run, rounding_mode="floor")
        return self.start + rows * self.stride + (positions - rows * self.run)

    def positions_of(self, index: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """Which of the full tensor's indices are held here, and where.

        Args:
            index: int64, row-major in the full tensor.
            count: number of local entries.

        Returns:
            bool of the shape of `index`, and int64 local positions of those that are True, in order.
        """
        away = index - self.start
        rows = torch.div(away, self.stride, rounding_mode="floor")
        column = away - rows * self.stride
        position = rows * self.run + column
        here = (away >= 0) & (column < self.run) & (position < count)
        return here, position[here]


def whole(total: int) -> Block:
    """The block that is the full tensor."""
    return Block(total, 0, max(1, total), max(1, total))


def cut_block(full_shape: Sequence[int], local_shape: Sequence[int], offset: Sequence[int]) -> Block:
    """The block of a piece at `offset`, cut along at most one dimension.

    Args:
        full_shape: of the full tensor.
        local_shape: of the piece; a piece without entries may have any offset.
        offset: of its first entry, one number per dimension.

    Raises:
        ValueError: the piece is cut along more than one dimension.
    """
    total = math.prod(full_shape)
    cut = [d for d, (whole_size, size) in enumerate(zip(full_shape, local_shape, strict=True)) if whole_size != size]
    if not cut or math.prod(local_shape) == 0:
        return whole(total)
    if len(cut) > 1:
        raise ValueError(f"a tensor must be sharded along one dimension, got {tuple(local_shape)} of {full_shape}")
    inner = math.prod(full_shape[cut[0] + 1 :])
    start, run, stride = offset[cut[0]] * inner, local_shape[cut[0]] * inner, full_shape[cut[0]] * inner
    if math.prod(full_shape[: cut[0]]) == 1:
        return Block(total, start, run, run)
    return Block(total, start, run, stride)
