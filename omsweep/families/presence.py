"""Where a family's models are, told without a network, a download, torch or transformers."""

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from omsweep.families.family import ModelFamily
from omsweep.families.folder import read_config
from omsweep.families.shape import Shape, shape_of_config

Place = Literal["folder", "missing folder", "hub cache", "hub"]

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?(@\S+)?")


def place_of(path: str, *, revision: str | None = None) -> Place:
    """Where the model of a folder or hub id is.

    `hub cache`: its configuration and weights are in the local cache. `hub`: they are not, and a run downloads them.

    Raises:
        ValueError: neither a path nor written like a hub id.
    """
    if Path(path).expanduser().is_dir():
        return "folder"
    if path.startswith(("/", "~", ".")):
        return "missing folder"
    if not _HUB_ID.fullmatch(path):
        raise ValueError(f"{path!r} is neither a folder that exists nor a hub id (organisation/model)")
    snapshot = _snapshot(path, revision)
    return "hub cache" if snapshot is not None and any(snapshot.glob("*.safetensors")) else "hub"


def hub_is_off() -> bool:
    """Whether `HF_HUB_OFFLINE` forbids downloads."""
    from huggingface_hub import constants

    return bool(constants.HF_HUB_OFFLINE)


def with_shape(family: ModelFamily) -> ModelFamily:
    """The family with its shape and its base's vocabulary from the models' `config.json`, where it says none.

    What is not here, or of another architecture, stays None.
    """
    base = _shape(family.base, family.revision) if family.base_vocabulary is None else None
    return replace(
        family,
        shape=family.shape or _shape(family.sft, family.revision),
        base_vocabulary=base.vocabulary if base else family.base_vocabulary,
    )


def _shape(path: str, revision: str | None) -> Shape | None:
    """The shape of a folder or hub id; None for no path, a model that is not here or one of another architecture."""
    folder = folder_of(path, revision)
    config = _config(folder) if folder is not None else None
    return None if config is None else shape_of_config(config)


def folder_of(path: str, revision: str | None) -> Path | None:
    """The folder of a model that is here, one in the local hub cache too."""
    local = Path(path).expanduser()
    return local if path and local.is_dir() else _snapshot(path, revision) if path else None


def _snapshot(path: str, revision: str | None) -> Path | None:
    """The folder of a hub id in the local cache, None where it is not there."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    name, _, named_revision = path.partition("@")
    try:
        found = try_to_load_from_cache(name, "config.json", revision=named_revision or revision)
    except HFValidationError:
        return None
    return Path(found).parent if isinstance(found, str) else None


def _config(folder: Path) -> Mapping[str, Any] | None:
    try:
        return read_config(folder)
    except ValueError:
        return None
