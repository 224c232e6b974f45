"""Positivity: sentiment less a cost per word; VADER only where it is installed."""

import pytest

from omsweep import extras
from omsweep.worlds.everyday.positivity import WORD_COST, positivity, vader


def half(text: str) -> float:
    return 0.5


def test_words_cost_and_sentiment_counts() -> None:
    assert positivity("very good indeed", half) == pytest.approx(0.5 - 3 * WORD_COST)
    assert positivity("good", half) > positivity("good and long", half)
    assert positivity("", lambda text: 0.0) == 0


def test_without_vader_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extras, "find_spec", lambda module: None)
    vader.cache_clear()
    with pytest.raises(ValueError, match=r"positivity needs vaderSentiment, .*pip install 'omsweep\[smollm2\]'"):
        vader()


def test_vader_likes_praise() -> None:
    pytest.importorskip("vaderSentiment", reason="the extra smollm2 is not installed")
    vader.cache_clear()
    compound = vader()
    assert compound("This is wonderful, I love it.") > 0.5
    assert compound("This is horrible, I hate it.") < -0.5
