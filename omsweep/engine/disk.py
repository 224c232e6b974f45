"""What a sweep takes of its storage: how much it still writes, at least, and which files go once nobody needs them."""

import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from rich.filesize import decimal

from omsweep.families.presence import with_shape
from omsweep.optim.settings import DTYPE_BYTES, OnlineMerge, state_bytes
from omsweep.space.schema import Keep
from omsweep.space.search_space import SearchSpace
from omsweep.store.folder import SweepFolder
from omsweep.store.log import SweepLog
from omsweep.store.records import Outcome, TrialRecord, TrialSpec
from omsweep.store.state import SweepState
from omsweep.trial.session import policy_folder, training_folder

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
    copies = min(CHECKPOINTS, written)
    sizes = []
    for family in space.families:
        dtype = train.dtype or family.dtype
        each = DTYPE_BYTES[dtype] + sum(state_bytes(OnlineMerge("adamw").resolved(), dtype).values())
        sizes.append(each * (with_shape(family).size or 0))
    return copies * min(sizes)


class Retention:
    """Removes what is not kept.

    Args:
        keep: of the search space.
        log, folder: of the sweep.
    """

    def __init__(self, keep: Keep, log: SweepLog, folder: SweepFolder) -> None:
        self._keep, self._log, self._folder = keep, log, folder

    def tried_again(self, trial_id: str, reason: str, error: str) -> None:
        """Nothing: the next attempt goes on from what is there."""

    def ended(self, record: TrialRecord, outcome: Outcome) -> None:
        """A trial has ended: its optimizer's state is of no more use, unless it failed and may be tried again."""
        if self._keep.checkpoints == "unfinished" and record.kind == "trained" and record.state != "failed":
            self._remove(record.trial_id, "training", [training_folder(self._folder.path, record.trial_id)])

    def closed(self) -> None:
        """The sweep is complete: policies that are not kept go."""
        if self._keep.policies == "all":
            return
        state = self._log.state
        kept = needed(state) if self._keep.policies == "front" else set()
        for trial in state.ended():
            if trial.trial_id not in kept and (trial.outcome or {}).get("policy_path"):
                self._remove(trial.trial_id, "policy", [policy_folder(self._folder.path, trial.trial_id)])

    def _remove(self, trial_id: str, what: str, folders: Iterable[Path]) -> None:
        there = [folder for folder in folders if folder.is_dir()]
        if there:
            size = sum(file.stat().st_size for folder in there for file in folder.rglob("*") if file.is_file())
            for folder in there:
                shutil.rmtree(folder)
            self._log.append("reclaimed", trial_id=trial_id, what=what, bytes=size)


def needed(state: SweepState) -> set[str]:
    """Trials on a front, and those that trials on a front were merged from."""
    members = [state.trials[one.trial_id] for front in state.fronts.values() for one in front]
    return {trial.trial_id for trial in members} | {str(trial.fields.get("parent")) for trial in members}
