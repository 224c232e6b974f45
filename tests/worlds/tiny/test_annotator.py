"""Preference prompts, candidates and the noisy annotator."""

import math

import pytest

from omsweep.worlds.tiny.gold import gold_reward
from omsweep.worlds.tiny.items import reward_prompts, tax_items
from omsweep.worlds.tiny.preferences import annotate, preference_pair, preference_prompts, skill_candidates
from omsweep.worlds.tiny.skills.table import SKILLS
from omsweep.worlds.tiny.splits import partition_of

OPEN = {"id": "open-1", "task": "open", "kind": "open", "prompt": "give me advice about chess ."}
SKILL = {"id": "math-1", "task": "math", "kind": "skill", "prompt": "add 1 and 2 .", "answer": "3", "wrong": "4"}


def test_prompts_are_different_reproducible_and_nested() -> None:
    records = preference_prompts(400, seed=3)
    assert len({record["id"] for record in records}) == 400
    assert preference_prompts(100, seed=3) == records[:100]
    assert preference_prompts(100, seed=4) != records[:100]


def test_seven_tenths_are_open_and_every_skill_occurs() -> None:
    records = preference_prompts(1500, seed=0)
    assert abs(sum(record["kind"] == "open" for record in records) / 1500 - 0.7) < 0.05
    assert {record["task"] for record in records} == {"open", *SKILLS}


def test_no_preference_prompt_is_a_tax_item_or_a_reward_prompt() -> None:
    records = preference_prompts(1500, seed=0)
    tested = {item["id"] for category in SKILLS for item in tax_items(category)}
    tested |= {item["id"] for item in reward_prompts()}
    assert tested.isdisjoint(record["id"] for record in records)
    assert all(partition_of(record["id"]) == "train" for record in records)


@pytest.mark.parametrize("count", [0, -1])
def test_a_count_below_one_is_refused(count: int) -> None:
    with pytest.raises(ValueError, match=f"count must be at least 1, got {count}"):
        preference_prompts(count, seed=0)


def test_wordy_answers_are_wrong_in_35_percent() -> None:
    wrong = 0
    for seed in range(1000):
        short, wordy = skill_candidates(SKILL, seed=seed)
        assert short == "3"
        assert len(wordy.split()) > 5
        assert ("3" in wordy.split()) != ("4" in wordy.split())
        wrong += "4" in wordy.split()
    assert abs(wrong / 1000 - 0.35) < 0.06


def test_the_annotator_follows_her_utilities() -> None:
    better, worse = "thank you . chess .", "thank you . chess moves"
    utility = gold_reward(OPEN["prompt"], better) - gold_reward(OPEN["prompt"], worse)
    preferred = [annotate(OPEN["prompt"], better, worse, seed=seed) for seed in range(2000)]
    assert preferred.count(0) / 2000 == pytest.approx(1 / (1 + math.exp(-utility / 0.5)), abs=0.04)
    assert {annotate(OPEN["prompt"], better, worse, seed=seed, temperature=0.01) for seed in range(50)} == {0}


def test_she_prefers_longer_answers_than_gold_does() -> None:
    short, long = "chess .", "chess " + "so " * 10 + "."
    assert gold_reward(OPEN["prompt"], short) > gold_reward(OPEN["prompt"], long)
    assert annotate(OPEN["prompt"], short, long, seed=0, temperature=0.01) == 1
    assert annotate(OPEN["prompt"], short, long, seed=0, temperature=0.01, length_bias=0.0) == 0


def test_correctness_counts_where_there_is_an_answer() -> None:
    right, wrong = "it is 3 .", "it is 4 ."
    assert annotate(SKILL["prompt"], wrong, right, seed=0, answer="3", temperature=0.01) == 1
    assert annotate(SKILL["prompt"], wrong, right, seed=0, answer="4", temperature=0.01) == 0


@pytest.mark.parametrize("temperature", [0.0, -1.0])
def test_a_temperature_that_is_not_positive_is_refused(temperature: float) -> None:
    with pytest.raises(ValueError, match="temperature must be positive"):
        annotate("a", "b", "c", seed=0, temperature=temperature)


def test_an_open_pair_holds_the_first_two_different_candidates() -> None:
    pair = preference_pair(OPEN, ["chess .", " chess  . ", "", "well .", "hm ."], seed=0)
    assert pair is not None
    assert set(pair) == {"id", "prompt", "chosen", "rejected"}
    assert pair["prompt"] == [{"role": "user", "content": OPEN["prompt"]}]
    assert {pair["chosen"][0]["content"], pair["rejected"][0]["content"]} == {"chess .", "well ."}


def test_equal_candidates_make_no_pair() -> None:
    assert preference_pair(OPEN, ["chess .", "chess ."], seed=0) is None


def test_a_skill_pair_is_constructed() -> None:
    pair = preference_pair(SKILL, [], seed=5)
    assert pair is not None
    assert {pair["chosen"][0]["content"], pair["rejected"][0]["content"]} == set(skill_candidates(SKILL, seed=5))
    assert pair == preference_pair(SKILL, [], seed=5)
