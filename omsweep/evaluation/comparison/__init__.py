"""Comparing arms over repeated runs: intervals, variance components, verdicts, the headline estimand.

Needs numpy and scipy, and pandas for reading scores; see docs/statistics.md. Public names are resolved on first use.
"""

from importlib import import_module
from typing import Any

_PUBLIC = {
    "MEASURES": "omsweep.evaluation.comparison.measures",
    "Arm": "omsweep.evaluation.comparison.points",
    "Choice": "omsweep.evaluation.comparison.arms",
    "Comparison": "omsweep.evaluation.comparison.headline",
    "Control": "omsweep.evaluation.comparison.question",
    "Design": "omsweep.evaluation.comparison.detectable",
    "Estimate": "omsweep.evaluation.comparison.estimate",
    "Limits": "omsweep.evaluation.comparison.measures",
    "Points": "omsweep.evaluation.comparison.points",
    "Question": "omsweep.evaluation.comparison.question",
    "VarianceComponents": "omsweep.evaluation.comparison.components",
    "block_mean": "omsweep.evaluation.comparison.blocks",
    "choices": "omsweep.evaluation.comparison.arms",
    "chosen": "omsweep.evaluation.comparison.arms",
    "clustered_mean": "omsweep.evaluation.comparison.clusters",
    "compare": "omsweep.evaluation.comparison.headline",
    "headline_pairs": "omsweep.evaluation.comparison.points",
    "holm": "omsweep.evaluation.comparison.family_wise",
    "judged": "omsweep.evaluation.comparison.headline",
    "matched_kl": "omsweep.evaluation.comparison.arms",
    "nested_weights": "omsweep.evaluation.comparison.clusters",
    "question_of": "omsweep.evaluation.comparison.question",
    "read_points": "omsweep.evaluation.comparison.trials",
    "smallest_detectable_effect": "omsweep.evaluation.comparison.detectable",
    "variance_components": "omsweep.evaluation.comparison.components",
    "verdicts": "omsweep.evaluation.comparison.family_wise",
}
__all__ = [
    "MEASURES",
    "Arm",
    "Choice",
    "Comparison",
    "Control",
    "Design",
    "Estimate",
    "Limits",
    "Points",
    "Question",
    "VarianceComponents",
    "block_mean",
    "choices",
    "chosen",
    "clustered_mean",
    "compare",
    "headline_pairs",
    "holm",
    "judged",
    "matched_kl",
    "nested_weights",
    "question_of",
    "read_points",
    "smallest_detectable_effect",
    "variance_components",
    "verdicts",
]


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
