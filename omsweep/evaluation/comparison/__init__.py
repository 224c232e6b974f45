"""Comparing arms over repeated runs: intervals, variance components, verdicts, the headline estimand.

Needs numpy and scipy, and pandas for reading scores; see docs/statistics.md. Public names are resolved on first use.
"""

from importlib import import_module
from typing import Any

_PUBLIC = {
    "Design": "omsweep.evaluation.comparison.detectable",
    "Estimate": "omsweep.evaluation.comparison.estimate",
    "VarianceComponents": "omsweep.evaluation.comparison.components",
    "clustered_mean": "omsweep.evaluation.comparison.clusters",
    "holm": "omsweep.evaluation.comparison.family_wise",
    "nested_weights": "omsweep.evaluation.comparison.clusters",
    "smallest_detectable_effect": "omsweep.evaluation.comparison.detectable",
    "variance_components": "omsweep.evaluation.comparison.components",
    "verdicts": "omsweep.evaluation.comparison.family_wise",
}
__all__ = [
    "Design",
    "Estimate",
    "VarianceComponents",
    "clustered_mean",
    "holm",
    "nested_weights",
    "smallest_detectable_effect",
    "variance_components",
    "verdicts",
]


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
