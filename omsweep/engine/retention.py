"""Files of a sweep that are no longer needed: removed as the search space's `keep` says, and noted in the log."""

import shutil
from collections.abc import Iterable
from pathlib import Path

from omsweep.space.schema import Keep
from omsweep.store.folder import SweepFolder
from omsweep.store.log import SweepLog
from omsweep.store.records import Outcome, TrialRecord
from omsweep.store.state import SweepState
from omsweep.trial.session import policy_folder, training_folders


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
            self._remove(record.trial_id, "training", training_folders(self._folder.path, record.trial_id))

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
