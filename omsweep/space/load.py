"""From a search space file on disk to a checked search space. Torch-free."""

from collections.abc import Sequence
from pathlib import Path

from omsweep.commands.check.headline import check_headline, check_pilot
from omsweep.plan.starting_points import trial_count
from omsweep.space.checks.fit import check_fit
from omsweep.space.knobs import SpaceError
from omsweep.space.parse import SpaceFileError, apply_overrides, read_yaml
from omsweep.space.search_space import SearchSpace, build_space


def load_space(path: Path, overrides: Sequence[str] = ()) -> SearchSpace:
    """Read and check a search space file, and that its families fit the workers it declares.

    Raises:
        SpaceFileError: naming file, key path, value and what is allowed.
    """
    content = apply_overrides(read_yaml(path), overrides)
    try:
        space = build_space(content)
        if space.file.mode == "search":
            trial_count(space)
        check_headline(space)
        check_pilot(space)
        check_fit(space)
    except SpaceError as error:
        raise SpaceFileError(f"{path}: {error}") from None
    return space
