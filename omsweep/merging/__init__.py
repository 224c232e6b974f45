"""Merging: masks, consensus, the table of methods, offline merging. Pure tensor mathematics."""

from importlib import import_module
from typing import Any

_PUBLIC = {
    "METHODS": "omsweep.merging.methods",
    "METHOD_KNOBS": "omsweep.merging.knobs",
    "MergeMethod": "omsweep.merging.method",
    "SEMANTICS": "omsweep.merging.knobs",
}

__all__ = ["METHODS", "METHOD_KNOBS", "SEMANTICS", "MergeMethod"]


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
