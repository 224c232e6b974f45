"""From a search space file on disk to a checked search space. Torch-free."""

from collections.abc import Callable, Sequence
from pathlib import Path

from omsweep.space.build import build_space
from omsweep.space.checks.fit import check_fit
from omsweep.space.knobs import SpaceError
from omsweep.space.parse import SpaceFileError, apply_overrides, read_yaml
from omsweep.space.search_space import SearchSpace


def load_space(
    path: Path, overrides: Sequence[str] = (), also: Sequence[Callable[[SearchSpace], object]] = ()
) -> SearchSpace:
    """Read and check a search space file, and that its families fit the workers it declares.

    Args:
        path: of the file.
        overrides: `key.path=value` settings.
        also: further checks, called with the space before those of the families; they raise SpaceError.

    Raises:
        SpaceFileError: naming file, key path, value and what is allowed.
    """
    content = apply_overrides(read_yaml(path), overrides)
    try:
        space = build_space(content)
        for check in also:
            check(space)
        check_fit(space)
    except SpaceError as error:
        raise SpaceFileError(f"{path}: {error}") from None
    return space
