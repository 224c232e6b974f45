"""Preference data: the embedded `tiny` pairs, local JSONL or Parquet files and hub data sets, in TRL's formats."""

from importlib import import_module
from typing import Any

_PUBLIC = {
    "PREFERENCES": "omsweep.preferences.table",
    "PreferenceData": "omsweep.preferences.settings",
    "check_disjoint": "omsweep.preferences.records",
    "kind_of": "omsweep.preferences.records",
    "load_preferences": "omsweep.preferences.load",
    "preferences_from": "omsweep.preferences.settings",
}

__all__ = [
    "PREFERENCES",
    "PreferenceData",
    "check_disjoint",
    "kind_of",
    "load_preferences",
    "preferences_from",
]


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
