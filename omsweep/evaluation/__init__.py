"""Scoring a policy: tax through lm-eval, reward through a scorer, and their comparison with the SFT model.

Public names are resolved on first use, so that `omsweep.evaluation.settings` can be imported without torch.
"""

from omsweep.lazy import lazy

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "Completion": "omsweep.evaluation.generation",
        "EvaluateSettings": "omsweep.evaluation.settings",
        "RewardSettings": "omsweep.evaluation.settings",
        "generate": "omsweep.evaluation.generation",
        "reference_scores": "omsweep.evaluation.score",
        "reward_and_tax": "omsweep.evaluation.statistics",
        "score_policy": "omsweep.evaluation.score",
        "score_reward": "omsweep.evaluation.reward",
        "score_tax": "omsweep.evaluation.tax",
    },
)
