"""A search space file with every check that needs no machine, as `check`, `run` and `submit` start. Torch-free."""

from collections.abc import Sequence
from pathlib import Path

from omsweep.commands.check.comparison import check_comparison
from omsweep.commands.check.trained_prompts import check_trained_prompts
from omsweep.plan.starting_points import check_trials
from omsweep.space.inputs import check_files
from omsweep.space.load import load_space
from omsweep.space.search_space import SearchSpace


def load_checked(path: Path, overrides: Sequence[str] = (), *, files_here: bool = True) -> SearchSpace:
    """As `load_space`, with the number of trials, the comparison and small preference files; raises SpaceFileError.

    Args:
        path, overrides: as for `load_space`.
        files_here: whether the sweep would find its files on this machine.
    """
    files = [check_files] if files_here else []
    return load_space(path, overrides, also=(check_trials, check_comparison, *files, check_trained_prompts))
