"""Comparing arms over repeated runs: intervals, variance components, verdicts, the headline estimand.

Needs numpy and scipy, and pandas for reading scores; see docs/statistics.md. Public names are resolved on first use.
"""

from omsweep.lazy import lazy

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "MEASURES": "omsweep.results.comparison.measures",
        "Arm": "omsweep.results.comparison.points",
        "Choice": "omsweep.results.comparison.arms",
        "Comparison": "omsweep.results.comparison.headline",
        "Control": "omsweep.results.comparison.question",
        "Design": "omsweep.results.comparison.detectable",
        "Estimate": "omsweep.results.comparison.estimate",
        "Limits": "omsweep.results.comparison.measures",
        "Points": "omsweep.results.comparison.points",
        "Question": "omsweep.results.comparison.question",
        "VarianceComponents": "omsweep.results.comparison.components",
        "block_mean": "omsweep.results.comparison.blocks",
        "choices": "omsweep.results.comparison.arms",
        "chosen": "omsweep.results.comparison.arms",
        "clustered_mean": "omsweep.results.comparison.clusters",
        "compare": "omsweep.results.comparison.headline",
        "headline_pairs": "omsweep.results.comparison.points",
        "holm": "omsweep.results.comparison.family_wise",
        "judged": "omsweep.results.comparison.headline",
        "matched_kl": "omsweep.results.comparison.arms",
        "nested_weights": "omsweep.results.comparison.clusters",
        "question_of": "omsweep.results.comparison.question",
        "read_points": "omsweep.results.comparison.trials",
        "smallest_detectable_effect": "omsweep.results.comparison.detectable",
        "variance_components": "omsweep.results.comparison.components",
        "verdicts": "omsweep.results.comparison.family_wise",
    },
)
