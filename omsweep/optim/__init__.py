"""Online merging optimizers and their settings. Needs torch alone; the settings need not even that."""

from importlib import import_module
from typing import Any

_PUBLIC = {
    "OnlineMerge": "omsweep.optim.settings",
    "OnlineMergeAdamW": "omsweep.optim.adamw",
    "OnlineMergeOptimizer": "omsweep.optim.wrapper",
    "ResolvedMerge": "omsweep.optim.settings",
    "alpha_for_travel": "omsweep.optim.travel",
    "canonical_name": "omsweep.optim.names",
    "check_task_vector": "omsweep.optim.task_vector",
    "expected_tau_travel": "omsweep.optim.travel",
    "retained_share_of": "omsweep.optim.retained",
}

__all__ = [
    "OnlineMerge",
    "OnlineMergeAdamW",
    "OnlineMergeOptimizer",
    "ResolvedMerge",
    "alpha_for_travel",
    "canonical_name",
    "check_task_vector",
    "expected_tau_travel",
    "retained_share_of",
]


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
