"""Model families: a base model, its SFT model, their tokenizer, and how to load them. Names are resolved lazily."""

from importlib import import_module
from typing import Any

_PUBLIC = {
    "FAMILIES": "omsweep.families.table",
    "FamilyFolders": "omsweep.families.load",
    "ModelFamily": "omsweep.families.family",
    "family_from": "omsweep.families.table",
    "load_model": "omsweep.families.load",
    "load_tokenizer": "omsweep.families.load",
    "prepare": "omsweep.families.load",
    "random_family": "omsweep.families.tiny.architecture",
    "weights_hash": "omsweep.families.load",
}
__all__ = sorted(_PUBLIC)


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
