"""The gold reward of the embedded tiny world."""

from collections.abc import Mapping, Sequence

from omsweep.evaluation.settings import RewardSettings
from omsweep.evaluation.spread import Spread, alone
from omsweep.worlds.tiny.gold import gold_reward


class TinyScorer:
    """`omsweep.worlds.tiny.gold.gold_reward` of the last turn and its completion."""

    def score(
        self, prompts: Sequence[Sequence[Mapping[str, str]]], completions: Sequence[str], *, spread: Spread = alone
    ) -> list[float]:
        """One gold reward for each pair."""
        pairs = zip(prompts, completions, strict=True)
        return [gold_reward(messages[-1]["content"], completion) for messages, completion in pairs]


def build(reward: RewardSettings) -> TinyScorer:
    """The scorer; it has no settings."""
    return TinyScorer()
