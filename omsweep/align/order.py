"""Which example is trained when: a pure function of the seed and the data's size, never of the method."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

ORDER_STREAM = 0x6F72646572


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How a run goes through a data set: the arguments of `example_order` that are not the data's.

    Attributes:
        seed: the run's.
        examples: rows to draw.
        group: rows that stay together.
    """

    seed: int
    examples: int
    group: int = 1

    def order(self, rows: int) -> np.ndarray:
        """Row numbers in training order, int64 `[examples]`; raises ValueError as `example_order`."""
        return example_order(rows, wanted=self.examples, seed=self.seed, group=self.group)


def rows_read(rows: int, readings: Iterable[Reading]) -> np.ndarray:
    """The row numbers that some reading draws, once each and sorted."""
    return np.unique(np.concatenate([np.zeros(0, dtype=np.int64), *(reading.order(rows) for reading in readings)]))


def example_order(rows: int, *, wanted: int, seed: int, group: int = 1) -> np.ndarray:
    """Row numbers in training order, a new permutation for each pass over the data.

    Args:
        rows: rows of the data set.
        wanted: rows to draw, steps times global batch size.
        seed: the run's seed.
        group: rows `[k * group, (k + 1) * group)` stay together and in order (KTO's KL pairs are tied to the batch of
            a worker); a trailing incomplete group is never drawn.

    Returns:
        int64 `[wanted]`.

    Raises:
        ValueError: the data hold no complete group.
    """
    groups = rows // group
    if groups == 0:
        raise ValueError(f"the data must hold at least {group} examples (the batch of one worker), got {rows}")
    passes = -(-wanted // (groups * group))
    order = np.concatenate([_permutation(groups, seed=seed, number=number) for number in range(passes)])
    return (order[:, None] * group + np.arange(group)).reshape(-1)[:wanted]


def _permutation(size: int, *, seed: int, number: int) -> np.ndarray:
    return np.random.Generator(np.random.PCG64([ORDER_STREAM, seed, number])).permutation(size)
