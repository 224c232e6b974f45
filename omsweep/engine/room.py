"""How much a sweep still writes to its storage, at least: what a disk that is too small is refused for."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.filesize import decimal

from omsweep.families.presence import with_shape
from omsweep.optim.settings import DTYPE_BYTES, OnlineMerge, state_bytes
from omsweep.space.search_space import SearchSpace
from omsweep.store.records import TrialSpec

SMALL_FILES = 4_000_000
"""Bytes of log, tables, report and a tracking database: a small sweep's."""
CHECKPOINTS = 2
"""Of a trial that stay, see `omsweep.align.arguments`; Ray Train keeps a copy of the last."""


def check_room(space: SearchSpace, left: Sequence[TrialSpec] | int, storage: Path) -> None:
    """Refuse a storage without room for what the sweep still writes.

    Args:
        space: of the sweep.
        left: the trials that are still to be trained; only how many, where a search proposes them.
        storage: a folder that exists.

    Raises:
        ValueError: with what is needed and what is free.
    """
    parts = to_write(space, left)
    needed, disk = sum(parts.values()), shutil.disk_usage(storage)
    if needed > disk.free and disk.total:  # some mounts of object stores say 0 of 0
        terms = " + ".join(f"{what} {decimal(size)}" for what, size in parts.items())
        raise ValueError(
            f"storage {storage} has room for {decimal(disk.free)}, and the sweep writes at least {decimal(needed)} ="
            f" {terms}; make room, choose another --storage, or train less"
        )


def to_write(space: SearchSpace, left: Sequence[TrialSpec] | int) -> Mapping[str, int]:
    """Bytes by what they are, each a lower bound; nothing is counted for families whose size is not known here."""
    train = space.file.train
    policies = _policies(space)
    if isinstance(left, int):
        count, size, kept, merged = left, left * min(policies.values()), 0, 0
    else:
        counted = {spec.trial_id: policies[spec.family] for spec in left}
        count, size = len(left), sum(counted.values())
        kept = sum(
            counted[spec.trial_id] * len(grid)
            for spec in left
            for grid in space.posthoc
            if grid.keep and spec.label in grid.of
        )
        merged = max(counted.values(), default=0) if any(not grid.keep for grid in space.posthoc) else 0
    if not count:
        return {}
    at_work = count if space.file.keep.checkpoints == "all" else min(count, train.concurrent_trials or 1)
    checkpoints = at_work * _checkpoints(space)
    terms = {
        f"{count} policies": size,
        "merged policies that are kept": kept,
        "one that is merged and scored": merged,
        f"checkpoints of {at_work} at work": checkpoints,
        "log and tables": SMALL_FILES,
    }
    return {what: size for what, size in terms.items() if size}


def _policies(space: SearchSpace) -> dict[str, int]:
    """Bytes of a policy's weights, by family."""
    dtype = space.file.train.dtype
    return {one.name: (with_shape(one).size or 0) * DTYPE_BYTES[dtype or one.dtype] for one in space.families}


def _checkpoints(space: SearchSpace) -> int:
    """Bytes that the smallest trial's checkpoints take, weights and AdamW's state; 0 where a knob decides on that."""
    train = space.file.train
    if not train.checkpoint_every or any(
        {"lora_rank", "steps"} & space.knobs_of(branch).keys() for branch in space.branches
    ):
        return 0
    written = train.steps // train.checkpoint_every
    copies = min(CHECKPOINTS, written) + (min(1, written) if train.backend == "train" else 0)
    sizes = []
    for family in space.families:
        dtype = train.dtype or family.dtype
        each = DTYPE_BYTES[dtype] + sum(state_bytes(OnlineMerge("adamw").resolved(), dtype).values())
        sizes.append(each * (with_shape(family).size or 0))
    return copies * min(sizes)
