"""How positive an answer sounds, less what its length costs: the annotator of the everyday preference pairs.

    positivity(answer) = compound(answer) - WORD_COST * words(answer)

`compound`, in [-1, 1], is VADER's (Hutto and Gilbert, 2014; PyPI `vaderSentiment`); the cost makes short answers
preferable to long ones that say as much.
"""

from collections.abc import Callable
from functools import lru_cache

from omsweep.extras import require

WORD_COST = 0.01

Compound = Callable[[str], float]
"""Sentiment of a text in [-1, 1]."""


def positivity(answer: str, compound: Compound) -> float:
    """Sentiment less `WORD_COST` for each word; an empty answer has neither."""
    return compound(answer) - WORD_COST * len(answer.split())


@lru_cache(maxsize=1)
def vader() -> Compound:
    """VADER's compound score.

    Raises:
        ValueError: the package is not installed.
    """
    require("positivity", ["vaderSentiment"])
    from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

    analyzer = SentimentIntensityAnalyzer()
    return lambda text: float(analyzer.polarity_scores(text)["compound"])
