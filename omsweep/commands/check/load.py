"""A search space file with every check that needs no machine, as `check`, `run` and `submit` start. Torch-free."""

from collections.abc import Sequence
from pathlib import Path

from omsweep.commands.check.comparison import check_comparison
from omsweep.commands.check.records import check_records
from omsweep.commands.check.templates import check_templates
from omsweep.plan.earlier import check_earlier
from omsweep.plan.starting_points import check_trials
from omsweep.space.inputs import check_files
from omsweep.space.load import load_space
from omsweep.space.search_space import SearchSpace


def load_checked(path: Path, overrides: Sequence[str] = (), *, files_here: bool = True) -> SearchSpace:
    """As `load_space`, with trial count, sweeps and files that are named, comparison, templates; raises SpaceFileError.

    Args:
        path, overrides: as for `load_space`.
        files_here: whether the sweep would find its files on this machine.
    """
    files = [check_files, check_earlier] if files_here else []
    also = (check_trials, check_comparison, *files, check_records, check_templates)
    return load_space(path, overrides, also=also)
