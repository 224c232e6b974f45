"""From a search space file on disk to a checked search space. Torch-free."""

from collections.abc import Callable, Sequence
from pathlib import Path

from omsweep.redaction import refuse_secrets
from omsweep.space.build import build_space
from omsweep.space.checks.fit import check_fit
from omsweep.space.knobs import SpaceError
from omsweep.space.located import located
from omsweep.space.parse import apply_overrides, read_yaml
from omsweep.space.search_space import SearchSpace
from omsweep.space.yaml_text import SpaceFileError


def load_space(
    path: Path, overrides: Sequence[str] = (), also: Sequence[Callable[[SearchSpace], object]] = ()
) -> SearchSpace:
    """Read and check a search space file, and that its families fit the workers it declares.

    Args:
        path: of the file; paths in it are relative to it.
        overrides: `key.path=value` settings; paths in them are relative to the working directory.
        also: further checks, called with the space before those of the families; they raise SpaceError.

    Raises:
        SpaceFileError: naming file, key path, value and what is allowed.
    """
    refuse_secrets("--set", overrides)
    content = apply_overrides(located(read_yaml(path), path.absolute().parent), overrides)
    try:
        space = build_space(content)
        for check in also:
            check(space)
        check_fit(space)
    except SpaceError as error:
        raise SpaceFileError(f"{path}: {error}") from None
    return space
