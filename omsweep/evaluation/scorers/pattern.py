"""Whether a regular expression is found in an answer: a format that was asked for, a word that must not occur."""

import re
from collections.abc import Mapping, Sequence

from omsweep.evaluation.settings import RewardSettings
from omsweep.evaluation.spread import Spread, alone


class PatternScorer:
    """1 where the expression is found in the completion, else 0; `^` and `$` are its ends, `.` is any character."""

    def __init__(self, pattern: str) -> None:
        self.pattern = re.compile(pattern, re.DOTALL)

    def score(
        self, prompts: Sequence[Sequence[Mapping[str, str]]], completions: Sequence[str], *, spread: Spread = alone
    ) -> list[float]:
        """One number for each completion."""
        return [float(self.pattern.search(completion) is not None) for completion in completions]


def build(reward: RewardSettings) -> PatternScorer:
    """The scorer for `reward.pattern`."""
    assert reward.pattern is not None
    return PatternScorer(reward.pattern)
