"""A judge that grades; one that compares is asked by `rewards.answers.scored`, which knows what with."""

from collections.abc import Mapping, Sequence

from omsweep.evaluation.judges.judge import judged
from omsweep.evaluation.judges.settings import JudgeSettings
from omsweep.evaluation.settings import RewardSettings
from omsweep.evaluation.spread import Spread, alone


class JudgeScorer:
    """Grades of a judge; NaN where it gave none."""

    def __init__(self, judge: JudgeSettings) -> None:
        self.judge = judge

    def score(
        self, prompts: Sequence[Sequence[Mapping[str, str]]], completions: Sequence[str], *, spread: Spread = alone
    ) -> list[float]:
        """One grade for each pair of chat and completion."""
        return [float(one) for one in judged(self.judge, prompts, completions).score]


def build(reward: RewardSettings) -> JudgeScorer:
    """The scorer; ValueError for a judge that compares, where there is nothing to compare with."""
    assert reward.judge is not None
    if reward.judge.compares:
        raise ValueError(f"judge.form must be grade where answers stand alone, got {reward.judge.form!r}")
    return JudgeScorer(reward.judge)
