"""A search's report comes with its studies for optuna-dashboard; without them where they cannot be made."""

from pathlib import Path
from typing import Any

import pytest

from omsweep.plan.optuna import StudyProposer
from omsweep.report.write import write_report
from omsweep.space.build import build_space
from omsweep.store.folder import SweepFolder
from omsweep.store.state import SweepState
from tests.driven_search import searched


def test_the_report_of_a_search_has_its_studies(search: dict[str, Any], tmp_path: Path) -> None:
    search["search"] = {"algorithm": "random", "trials": 8}
    space = build_space(search)
    _, states = searched(space, StudyProposer(space), SweepState(), 1)
    created = {"name": "s", "created": 0.0, "resolved": space.resolved()}
    folder = SweepFolder(tmp_path, "s")
    folder.path.mkdir()
    write_report(folder, states[-1]._replace(created=created))
    assert folder.optuna_log.read_text().count('"trial_id":"tiny-llama-') + 1 > 8

    folder.optuna_log.unlink()
    broken = {**created, "resolved": {**space.resolved(), "families": ["none"]}}
    with pytest.warns(UserWarning, match="no optuna.log: .*family must be one of"):
        write_report(folder, states[-1]._replace(created=broken))
    assert folder.report_html.is_file()
    assert not folder.optuna_log.exists()
