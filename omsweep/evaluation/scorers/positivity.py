"""How positive an answer sounds, less what its length costs; see `omsweep.worlds.everyday.positivity`."""

from collections.abc import Mapping, Sequence

from omsweep.evaluation.settings import RewardSettings
from omsweep.evaluation.spread import Spread, alone
from omsweep.worlds.everyday.positivity import positivity, vader


class PositivityScorer:
    """VADER's compound sentiment of the completion less 0.01 for each word; the prompt does not matter."""

    def score(
        self, prompts: Sequence[Sequence[Mapping[str, str]]], completions: Sequence[str], *, spread: Spread = alone
    ) -> list[float]:
        """One score for each completion; ValueError when VADER is not installed."""
        compound = vader()
        return [positivity(completion, compound) for completion in completions]


def build(reward: RewardSettings) -> PositivityScorer:
    """The scorer; it has no settings."""
    return PositivityScorer()
