"""Alignment training: dpo, ipo and kto through TRL with an online merging optimizer; nothing is scored here.

The entry point is the function `omsweep.align.train.train`; it is not re-exported, because the module bears its name.
"""

from importlib import import_module
from typing import Any

_PUBLIC = {
    "ALGORITHMS": "omsweep.align.algorithms",
    "Algorithm": "omsweep.align.algorithms",
    "PreflightError": "omsweep.align.preflight",
    "TrainOutcome": "omsweep.align.outcome",
    "TrainSettings": "omsweep.align.settings",
    "prepare_data": "omsweep.align.data",
}

__all__ = ["ALGORITHMS", "Algorithm", "PreflightError", "TrainOutcome", "TrainSettings", "prepare_data"]


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
