"""The table of policies that a comparison reads, and the arms they make up."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from omsweep.merging.methods import BASELINE_METHOD

Floats = NDArray[np.float64]
READINGS = ("reward", "tax", "kl")
"""Last axis of every array of readings: scorer units over the SFT model, points, nats per completion."""

Block = tuple[str, str, str]
"""(family, SFT seed, run): the unit in which every arm has its policies. Equal run labels in two SFT seeds mean shared
draws and training seed."""


@dataclass(frozen=True, kw_only=True)
class Points:
    """N policies, each trained or merged after training, read on both splits.

    Args:
        block: the N blocks the policies belong to.
        label: N labels of the trained run that the policy is, or was merged from.
        merged: [N], whether it was merged after training.
        search: [N, 3] `READINGS` on the search split.
        report: [N, 3] `READINGS` on the report split.
        report_without: [N, G, 3], the same without the g-th of G groups of items; G is 0 (items are not
            to be seen) or at least 2.
        blocks: all blocks that ran, also where an arm has no policy (it diverged); by default those of `block`.
        left_out: blocks that were left out because something in them is missing.
        unread: trial ids of policies without reward or tax, which their blocks were left out for.
    """

    block: tuple[Block, ...]
    label: NDArray[np.str_]
    merged: NDArray[np.bool_]
    search: Floats
    report: Floats
    report_without: Floats
    blocks: tuple[Block, ...] = ()
    left_out: tuple[Block, ...] = ()
    unread: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.blocks:
            object.__setattr__(self, "blocks", tuple(dict.fromkeys(self.block)))

    @cached_property
    def block_index(self) -> NDArray[np.int64]:
        """Position of each policy's block in `blocks`, [N]."""
        position = {block: index for index, block in enumerate(self.blocks)}
        return np.array([position[block] for block in self.block], dtype=np.int64)

    @property
    def families(self) -> tuple[str, ...]:
        """Families in the order they appear."""
        return tuple(dict.fromkeys(family for family, _, _ in self.blocks))

    def places(self, family: str) -> list[int]:
        """Positions in `blocks` of a family's."""
        return [i for i, block in enumerate(self.blocks) if block[0] == family]

    def sft_seeds(self, family: str) -> list[str]:
        """The SFT seed of each of a family's blocks."""
        return [sft_seed for name, sft_seed, _ in self.blocks if name == family]


@dataclass(frozen=True)
class Arm:
    """What may be chosen in a block: the run of a label and, if `merged`, its offline merges; always the SFT model too.

    The SFT model has reward 0, tax 0 and KL 0 by definition and is a candidate of every arm, so that an arm none of
    whose policies stays within a limit falls back on it, and one that diverged has it alone.
    """

    label: str
    merged: bool = False

    @property
    def name(self) -> str:
        """`ondare`, or `ondare + offline`."""
        return f"{self.label} + offline" if self.merged else self.label

    def members(self, points: Points) -> NDArray[np.bool_]:
        """Which of the points are candidates, [N]; without the SFT model."""
        return np.asarray((points.label == self.label) & (self.merged | ~points.merged))


Pair = tuple[Arm, Arm]
"""An arm and what it is compared against."""


def headline_pairs(online: str, baseline: str = BASELINE_METHOD) -> tuple[Pair, ...]:
    """The three questions about an online label: against the baseline run, its best offline merge, and grid by grid.

    With (a) the baseline run, (b) its best offline merge, (c) the online run and (d) the online run
    with the same offline grid: c - a, c - b, d - b. Arms (b) and (d) hold the run itself too (weight 1).
    """
    a, b, c, d = Arm(baseline), Arm(baseline, merged=True), Arm(online), Arm(online, merged=True)
    return (c, a), (c, b), (d, b)
