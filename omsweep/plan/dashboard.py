"""A search's studies as a file that `optuna-dashboard` opens: written from the log, never read."""

import json
from collections.abc import Generator
from typing import Any

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import BaseJournalBackend

from omsweep.plan.optuna import StudyProposer
from omsweep.plan.samplers import DIRECTIONS
from omsweep.space.search_space import SearchSpace
from omsweep.store.state import SweepState


def journal(space: SearchSpace, state: SweepState) -> str:
    """Optuna's journal file with the study of every family, named after it, as the search knows them now."""
    lines = _Lines()
    storage = JournalStorage(lines)
    for name, study in StudyProposer(space, state).studies.items():
        optuna.create_study(study_name=name, storage=storage, directions=DIRECTIONS).add_trials(study.trials)
    return "".join(json.dumps(one, separators=(",", ":")) + "\n" for one in lines.logs)


class _Lines(BaseJournalBackend):
    """What Optuna's own backend writes to a file, line by line with a lock and a flush for each."""

    def __init__(self) -> None:
        self.logs: list[dict[str, Any]] = []

    def read_logs(self, log_number_from: int) -> Generator[dict[str, Any], None, None]:
        yield from self.logs[log_number_from:]

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        self.logs += logs
