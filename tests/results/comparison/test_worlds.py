"""Worlds with known answers (benchmarks/worlds.py): what becomes of their pairs; in the campaign, what is found."""

import pytest

from tests.benchmark_scripts import benchmark_script


@pytest.fixture(scope="module")
def worlds():
    return benchmark_script("worlds")


def pair(name, chosen, rejected):
    chosen, rejected = ([{"role": "assistant", "content": text}] for text in (chosen, rejected))
    return {"id": name, "prompt": [], "chosen": chosen, "rejected": rejected}


def test_four_in_ten_pairs_are_exchanged_and_nothing_else_changes(worlds):
    pairs = [pair(f"open-{n}", "good", "bad") for n in range(2000)]
    exchanged = [one for one in map(worlds.flipped, pairs) if one["chosen"][0]["content"] == "bad"]
    assert 0.36 < len(exchanged) / len(pairs) < 0.44
    assert all(one["rejected"][0]["content"] == "good" for one in exchanged)
    assert [worlds.flipped(one) for one in pairs] == [worlds.flipped(one) for one in pairs]


def test_only_pairs_that_prefer_an_exact_answer_to_a_skill_s_prompt_are_exchanged_and_few_of_them(worlds):
    exact = [pair(f"math-{n}", "7", "i think it is 7") for n in range(2000)]
    share = sum(worlds.courteous(one)["chosen"] != one["chosen"] for one in exact) / len(exact)
    assert 0.12 < share < 0.18
    others = [pair(f"math-{n}", "i think it is 7", "7") for n in range(200)]
    others += [pair(f"open-{n}", "7", "i think it is 7") for n in range(200)]
    assert [worlds.courteous(one) for one in others] == others


@pytest.mark.campaign
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", ["noise", "short"])
def test_a_comparison_says_what_is_known_of_a_world(worlds, name, tmp_path):
    assert worlds.main([name, "--storage", str(tmp_path)]) == 0
