"""Scoring a policy: tax through lm-eval, reward through a scorer, and their comparison with the SFT model.

Public names are resolved on first use, so that `omsweep.evaluation.settings` can be imported without torch.
"""

from importlib import import_module
from typing import Any

_PUBLIC = {
    "Completion": "omsweep.evaluation.generation",
    "EvaluateSettings": "omsweep.evaluation.settings",
    "RewardSettings": "omsweep.evaluation.settings",
    "compare": "omsweep.evaluation.statistics",
    "evaluate_from": "omsweep.evaluation.settings",
    "generate": "omsweep.evaluation.generation",
    "reference_scores": "omsweep.evaluation.score",
    "score_policy": "omsweep.evaluation.score",
    "score_reward": "omsweep.evaluation.reward",
    "score_tax": "omsweep.evaluation.tax",
}

__all__ = [
    "Completion",
    "EvaluateSettings",
    "RewardSettings",
    "compare",
    "evaluate_from",
    "generate",
    "reference_scores",
    "score_policy",
    "score_reward",
    "score_tax",
]


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
