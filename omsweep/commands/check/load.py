"""A search space file with every check that needs no machine, as `check`, `run` and `submit` start. Torch-free."""

from collections.abc import Sequence
from pathlib import Path

from omsweep.commands.check.comparison import check_comparison
from omsweep.commands.check.records import check_records
from omsweep.commands.check.templates import check_templates
from omsweep.evaluation.data import check_data
from omsweep.plan.earlier import check_earlier
from omsweep.plan.starting_points import check_trials
from omsweep.space.checks.rewards import check_rewards
from omsweep.space.inputs import check_files
from omsweep.space.knobs import SpaceError
from omsweep.space.load import load_space
from omsweep.space.search_space import SearchSpace


def check_data_files(space: SearchSpace) -> None:
    """Whether the data files of the tax suite are what its tasks want; raises SpaceError."""
    try:
        check_data(space.evaluate.suite)
    except ValueError as error:
        raise SpaceError("evaluate.data", str(error)) from None


def load_checked(path: Path, overrides: Sequence[str] = (), *, files_here: bool = True) -> SearchSpace:
    """As `load_space`, with trial count, sweeps and files that are named, comparison, templates; raises SpaceFileError.

    Args:
        path, overrides: as for `load_space`.
        files_here: whether the sweep would find its files on this machine.
    """
    files = [check_files, check_data_files, check_earlier, check_rewards] if files_here else []
    also = (check_trials, check_comparison, *files, check_records, check_templates)
    return load_space(path, overrides, also=also)
