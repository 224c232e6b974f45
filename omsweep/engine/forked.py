"""A sweep that starts from an earlier one's results: what is taken over, and what must be the same for that."""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from omsweep.engine.opened import differences, refuse_changed_inputs, shown
from omsweep.plan.attempts import propose
from omsweep.plan.forking import candidates, numbered
from omsweep.plan.proposer import Proposal
from omsweep.space.inputs import Inputs
from omsweep.space.search_space import SearchSpace
from omsweep.store.folder import SweepFolder
from omsweep.store.log import SweepLog
from omsweep.store.records import Ended, TrialSpec
from omsweep.store.state import SCORED, SweepState, TrialState
from omsweep.strict_json import plain

SAME = ("mode", "evaluate.", "objectives.")
"""Settings that two sweeps must share for a result of one to be a result of the other."""


class Fork(NamedTuple):
    """What is still to be taken over.

    Attributes:
        old, state: the earlier sweep.
        left: its trials as the new sweep has them.
    """

    old: SweepFolder
    state: SweepState
    left: Sequence[Proposal]

    @property
    def data(self) -> dict[str, Any]:
        """What the new sweep's log says of it."""
        return {
            "name": self.old.name,
            "path": str(self.old.path),
            "sweep_id": self.state.created.get("sweep_id"),
            "trials": [one.spec.trial_id for one in self.left],
            "numbered": numbered(self.state),
        }

    def describe(self) -> str:
        """What is said once it is done."""
        return f"took over {len(self.left)} trials of {self.old.path}; their policies stay there"

    def take(self, log: SweepLog, folder: SweepFolder) -> None:
        """Put the trials that are left, with their tables, into a sweep that was created with `data`.

        Policies stay where they are.
        """
        for spec, drawn in self.left:
            trial = self.state.trials[spec.trial_id]
            outcome = trial.outcome or {}
            if outcome["state"] in SCORED:
                _bring(_table(self.old, trial), folder.scores_folder)
            propose(log, spec, drawn)
            known = {name: value for name, value in outcome.items() if name in Ended.model_fields}
            log.append("ended", trial_id=spec.trial_id, attempt=max(1, trial.attempt), outcome=plain(known))
            if trial.report is not None:
                log.append("scored", trial_id=spec.trial_id, split="report", numbers=plain(trial.report))


def fork_of(
    space: SearchSpace, specs: Sequence[TrialSpec] | None, inputs: Inputs, state: SweepState, old: SweepFolder | None
) -> Fork | None:
    """What is to be taken over: by a new sweep from `old`, by one that exists what its driver was killed before.

    Raises:
        ValueError: as `new_fork`; a sweep that exists and was not forked from `old`.
    """
    origin = state.created.get("forked_from")
    if old is not None and state.created and (origin is None or origin["path"] != str(old.path)):
        raise ValueError(
            f"sweep {state.created['name']} exists and was not forked from {old.path}: choose another --name"
        )
    if not state.created:
        return None if old is None else new_fork(space, specs, inputs, old)
    return None if origin is None else begun_fork(space, specs, state)


def new_fork(space: SearchSpace, specs: Sequence[TrialSpec] | None, inputs: Inputs, old: SweepFolder) -> Fork:
    """What a new sweep takes over of an earlier one.

    Args:
        space: of the new sweep.
        specs: its trials in mode compare, None of a search.
        inputs: files and folders that it names.
        old: the earlier sweep.

    Raises:
        ValueError: it measures something else, has other inputs, or nothing to take over; the message says what.
        FileNotFoundError: there is no such sweep.
    """
    state = old.state()
    if specs is None and space.search.algorithm == "grid":
        raise ValueError("search.algorithm grid starts from nothing: run it, or fork a search by tpe or random")
    other = [one for one in differences(state.resolved, space.resolved()) if one[0].startswith(SAME)]
    if other:
        listed = "; ".join(f"{path} is {shown(there)} there and {shown(here)} here" for path, there, here in other)
        raise ValueError(f"results of sweep {old.path} are not results of this one: {listed}")
    both = state.created.get("inputs", {}).keys() & inputs.keys()
    of_both = [{key: one[key] for key in both} for one in (state.created.get("inputs", {}), inputs)]
    refuse_changed_inputs(f"sweep {old.path}", *of_both)
    found = candidates(space, specs, state, lambda trial: _usable(old, trial))
    left = [one.proposal for one in found if one.proposal is not None and one.different is None]
    if not left:
        why = f": {found[0].trial.trial_id}: {found[0].different}" if found else ""
        raise ValueError(f"no finished trial of sweep {old.path} is one of this search space{why}; `omsweep run` it")
    return Fork(old, state, left)


def begun_fork(space: SearchSpace, specs: Sequence[TrialSpec] | None, state: SweepState) -> Fork | None:
    """What a sweep has still to take over, whose driver was killed while it did; mostly None.

    Raises:
        ValueError, FileNotFoundError: the earlier sweep has not what is missing.
    """
    origin = state.created["forked_from"]
    missing = {one for one in origin["trials"] if one not in state.trials or not state.trials[one].ended}
    if not missing:
        return None
    old = SweepFolder(Path(origin["path"]).parent, origin["name"])
    there = old.state()
    found = candidates(space, specs, there, lambda trial: _usable(old, trial))
    left = [one.proposal for one in found if one.proposal is not None and one.trial.trial_id in missing]
    if len(left) < len(missing):
        raise ValueError(f"sweep {old.path} has lost trials that were to be taken over: fork it under another --name")
    return Fork(old, there, left)


def _usable(old: SweepFolder, trial: TrialState) -> bool:
    """Whether a trial ended with a result that is still whole; a failed one is run again."""
    state = (trial.outcome or {"state": "failed"})["state"]
    return state == "diverged" or (state in SCORED and _table(old, trial).is_file())


def _table(folder: SweepFolder, trial: TrialState) -> Path:
    return folder.scores_folder / f"{trial.trial_id}.parquet"


def _bring(table: Path, scores: Path) -> None:
    """The table in another folder, as a hard link where that can be; whole or not at all."""
    target = scores / table.name
    if target.exists():
        return
    scores.mkdir(parents=True, exist_ok=True)
    try:
        os.link(table, target)
    except OSError:
        partial = scores / f".{table.name}.partial"
        shutil.copyfile(table, partial)
        partial.replace(target)
