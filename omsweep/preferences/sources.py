"""Reading preference records from local files and from the hub."""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import datasets

from omsweep.cache.manifest import sha256_of
from omsweep.preferences.files import existing_file, read_rows
from omsweep.preferences.settings import PreferenceData
from omsweep.quiet import without_datasets_bars


def source_recipe(spec: PreferenceData) -> dict[str, Any]:
    """What fixes the records of a file or of a hub data set."""
    if spec.path is not None:
        return {"file": sha256_of(existing_file(spec.path)), "suffix": Path(spec.path).suffix}
    return {"hub": spec.hub, "config": spec.config, "split": spec.split, "revision": hub_revision(spec)}


def read_source(spec: PreferenceData, recipe: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The first `limit` rows of a file or of a hub data set, at the revision of its `source_recipe`."""
    rows = read_rows(spec.path) if spec.path is not None else read_hub(spec, revision=recipe["revision"])
    return rows[: spec.limit]


def read_hub(spec: PreferenceData, *, revision: str | None) -> list[dict[str, Any]]:
    """The rows of a split of a hub data set; code that comes with a data set is never run.

    Raises:
        ValueError: the data set, its configuration, split or revision cannot be loaded.
    """
    try:
        with without_datasets_bars():
            found = datasets.load_dataset(
                spec.hub, spec.config, split=spec.split, revision=revision, keep_in_memory=True
            )
            rows: list[dict[str, Any]] = found.select(range(min(spec.limit or len(found), len(found)))).to_list()
            return rows
    except (datasets.exceptions.DatasetGenerationError, ValueError, OSError) as error:
        raise ValueError(f"cannot load preference data {spec.hub} from the hub: {_reason(error)}") from error


def hub_revision(spec: PreferenceData) -> str | None:
    """The commit to load: the one asked for, else the newest; None with a warning when the hub cannot be asked."""
    if spec.revision is not None:
        return spec.revision
    from huggingface_hub import HfApi  # here, because only hub data need it

    try:
        return HfApi().dataset_info(str(spec.hub)).sha
    except (OSError, ValueError) as error:
        warnings.warn(
            f"preference data {spec.hub} have no revision and the hub cannot be asked for one ({_reason(error)}): a "
            "local copy is used and changes on the hub go unnoticed",
            stacklevel=2,
        )
        return None


def _reason(error: BaseException) -> str:
    """The innermost cause: datasets wraps parsers' messages into one that says nothing."""
    while error.__cause__ is not None:
        error = error.__cause__
    return str(error).splitlines()[0] if str(error) else type(error).__name__
