"""The smollm2 data sets: the more positive, shorter answer of a prompt nobody is tested with."""

import pytest

from omsweep.preferences import smollm2
from omsweep.preferences.prompts import read_prompts
from omsweep.preferences.smollm2 import best_and_worst, build_pairs, open_prompts, pairs_of
from omsweep.preferences.table import PREFERENCES
from omsweep.worlds.everyday.prompts import prompts_of

WORTH = {"good": 0.6, "fine": 0.3, "bad": -0.5}


def compound(text: str) -> float:
    return sum(WORTH.get(word, 0.0) for word in text.split())


@pytest.fixture(autouse=True)
def counted_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smollm2, "vader", lambda: compound)


def answers(prompts, samples, seed):
    return [["it is bad", "it is good", "", "fine"][:samples] for _ in prompts]


def test_best_against_worst_and_short_before_long() -> None:
    assert best_and_worst(["fine", "bad", "good"], compound) == ("good", "bad")
    assert best_and_worst(["good", "good " + "well " * 30], compound) == ("good", "good " + "well " * 30)


@pytest.mark.parametrize("texts", [[], ["good"], ["good", "good"], ["good", "good well"], ["", "  "]])
def test_answers_that_are_alike_give_no_pair(texts: list[str]) -> None:
    assert best_and_worst(texts, compound) is None


def test_pairs_are_conversations_with_the_prompts_ids() -> None:
    pairs = build_pairs(answers, prompts=8, samples=3, seed=0)
    ids = {record["prompt"]: record["id"] for record in prompts_of("preference")}
    assert len(pairs) == 8
    for pair in pairs:
        assert pair["id"] == ids[pair["prompt"][0]["content"]]
        assert pair["chosen"] == [{"role": "assistant", "content": "it is good"}]
        assert pair["rejected"] == [{"role": "assistant", "content": "it is bad"}]


def test_the_judges_pairs_are_of_other_prompts() -> None:
    policy, judge = (pairs_of(pool, answers, prompts=200, samples=2, seed=0) for pool in ("preference", "judge"))
    assert not {pair["id"] for pair in policy} & {pair["id"] for pair in judge}


def test_test_prompts_are_refused() -> None:
    with pytest.raises(ValueError, match="preference prompts must be disjoint from the test items"):
        pairs_of("search", answers, prompts=3, samples=2, seed=0)


def test_prefs_takes_the_same_prompts_by_name() -> None:
    prompts, repeated = read_prompts("smollm2", limit=None, seed=0)
    assert repeated == 0
    expected = open_prompts(prompts=PREFERENCES["smollm2"].prompts, seed=0)
    assert [prompt.id for prompt in prompts] == [record["id"] for record in expected]
