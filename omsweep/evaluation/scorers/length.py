"""How long an answer is: what a reward should not be for, so that one sees whether it is."""

from collections.abc import Mapping, Sequence

from omsweep.evaluation.settings import RewardSettings
from omsweep.evaluation.spread import Spread, alone


class LengthScorer:
    """Characters of the completion."""

    def score(
        self, prompts: Sequence[Sequence[Mapping[str, str]]], completions: Sequence[str], *, spread: Spread = alone
    ) -> list[float]:
        """One number for each completion."""
        return [float(len(completion)) for completion in completions]


def build(reward: RewardSettings) -> LengthScorer:
    """The scorer; it has no settings."""
    return LengthScorer()
