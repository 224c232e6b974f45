"""The journal for optuna-dashboard holds the studies as the search knows them, and Optuna reads it."""

from pathlib import Path
from typing import Any

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from omsweep.plan.dashboard import journal
from omsweep.plan.optuna import StudyProposer
from omsweep.space.build import build_space
from omsweep.store.state import SweepState
from tests.driven_search import searched


def test_optuna_reads_back_what_was_told(search: dict[str, Any], tmp_path: Path) -> None:
    search["search"] |= {"trials": 12, "startup_trials": 3, "constraints": {"kl": {"at_most": 5.0}}}
    space = build_space(search)
    _, states = searched(space, StudyProposer(space), SweepState(), 1)
    state = states[-4]
    file = tmp_path / "optuna.log"
    file.write_text(journal(space, state))
    read = optuna.load_study(study_name="tiny-llama", storage=JournalStorage(JournalFileBackend(str(file))))
    told = StudyProposer(space, state).studies["tiny-llama"].trials

    def kept(trial: optuna.trial.FrozenTrial) -> tuple[Any, ...]:
        return trial.state, trial.values, trial.params, trial.user_attrs, trial.constraints

    assert [kept(one) for one in read.trials] == [kept(one) for one in told]
    assert {one.user_attrs["trial_id"] for one in told} == set(state.trials)
    assert any(one.constraints for one in told)
