"""The table of policies that a comparison reads, and the arms they make up."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
READINGS = ("reward", "tax", "kl")
"""Last axis of every array of readings: scorer units over the SFT model, points, nats per completion."""
REWARD, TAX, KL = range(3)

Block = tuple[str, str, str]
"""(family, SFT seed, run): the unit in which every arm has its policies. Equal run labels in two SFT seeds mean shared
draws and training seed."""


@dataclass(frozen=True, order=True)
class Arm:
    """The runs of a label over the ladder of doses, and what was made of them after training.

    Args:
        label: of the branch.
        grid: entry of `posthoc`, empty for the runs alone.
    """

    label: str
    grid: str = ""

    @property
    def name(self) -> str:
        """`ondare`, or `ondare + path`."""
        return f"{self.label} + {self.grid}" if self.grid else self.label


Pair = tuple[Arm, Arm]
"""An arm and what it is compared against."""


@dataclass(frozen=True, kw_only=True)
class Points:
    """N policies, each trained or merged after training, read on both splits.

    Args:
        block: the N blocks the policies belong to.
        label: N labels of the branch that the policy, or what it was merged from, was trained by.
        dose: [N] rungs of the ladder, likewise.
        grid: N names of the grid that the policy was merged by, empty for a trained one.
        weight: [N] the policy's weight on its way back to the SFT model, 1 of a trained one; NaN of one that was
            shifted and is on no such way.
        search: [N, 3] `READINGS` on the search split.
        report: [N, 1 + G, 3] on the report split: of all items first, then without the g-th of G groups of items; G is
            0 (items are not to be seen) or at least 2.
        blocks: all blocks that are compared, also where an arm has no policy (it diverged).
        left_out: blocks that were left out because something in them failed, or has no reward or tax.
        unfinished: blocks in which something has not ended.
        unread: trial ids of policies without reward or tax, which their blocks were left out for.
    """

    block: tuple[Block, ...]
    label: NDArray[np.str_]
    dose: Floats
    grid: NDArray[np.str_]
    weight: Floats
    search: Floats
    report: Floats
    blocks: tuple[Block, ...]
    left_out: tuple[Block, ...] = ()
    unfinished: tuple[Block, ...] = ()
    unread: tuple[str, ...] = ()

    @property
    def families(self) -> tuple[str, ...]:
        """Families in the order they appear."""
        return tuple(dict.fromkeys(family for family, _, _ in self.blocks))

    def blocks_of(self, family: str) -> list[Block]:
        """A family's blocks, in order."""
        return [block for block in self.blocks if block[0] == family]
