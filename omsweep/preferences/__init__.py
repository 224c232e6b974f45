"""Preference data: the embedded `tiny` pairs, local JSONL or Parquet files and hub data sets, in TRL's formats."""

from omsweep.lazy import lazy

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "PREFERENCES": "omsweep.preferences.table",
        "PreferenceData": "omsweep.preferences.settings",
        "check_disjoint": "omsweep.preferences.records",
        "kind_of": "omsweep.preferences.records",
        "load_preferences": "omsweep.preferences.load",
        "preferences_from": "omsweep.preferences.settings",
    },
)
