"""Scorers: each judges completions by one method; `omsweep.evaluation.settings.SCORERS` names them all."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib import import_module
from typing import Protocol

from omsweep.evaluation.settings import SCORERS, RewardSettings
from omsweep.evaluation.spread import Spread, alone

__all__ = ["Scorer", "make_scorer"]

OWN = "omsweep.evaluation.scorers.own"


class Scorer(Protocol):
    """Gives each completion of a chat a number; more is better, the unit is the scorer's own."""

    def score(
        self, prompts: Sequence[Sequence[Mapping[str, str]]], completions: Sequence[str], *, spread: Spread = alone
    ) -> list[float]:
        """One score for each pair of chat and completion; `spread` computes the batches of a model."""


@lru_cache(maxsize=8)
def make_scorer(reward: RewardSettings) -> Scorer:
    """The scorer that `reward` asks for; kept, so that trials in one process share a loaded reward model."""
    scorer: Scorer = import_module(SCORERS.get(reward.scorer, OWN)).build(reward)
    return scorer
