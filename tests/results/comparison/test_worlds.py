"""Worlds with known answers (benchmarks/worlds.py): what becomes of their pairs; in the campaign, what is found."""

import importlib.util
from pathlib import Path

import pytest

PATH = Path(__file__).parents[3] / "benchmarks" / "worlds.py"


@pytest.fixture(scope="module")
def worlds():
    spec = importlib.util.spec_from_file_location("worlds", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def pair(name, chosen, rejected):
    chosen, rejected = ([{"role": "assistant", "content": text}] for text in (chosen, rejected))
    return {"id": name, "prompt": [], "chosen": chosen, "rejected": rejected}


def test_four_in_ten_pairs_are_exchanged_and_nothing_else_changes(worlds):
    pairs = [pair(f"open-{n}", "good", "bad") for n in range(2000)]
    exchanged = [one for one in map(worlds.flipped, pairs) if one["chosen"][0]["content"] == "bad"]
    assert 0.36 < len(exchanged) / len(pairs) < 0.44
    assert all(one["rejected"][0]["content"] == "good" for one in exchanged)
    assert [worlds.flipped(one) for one in pairs] == [worlds.flipped(one) for one in pairs]


@pytest.mark.parametrize(
    ("name", "chosen", "expected"),
    [("math-1", "7", "i think it is 7"), ("math-2", "i think it is 7", "i think it is 7"), ("open-1", "7", "7")],
)
def test_of_two_answers_to_a_skill_prompt_the_courteous_one_is_preferred(worlds, name, chosen, expected):
    other = "7" if chosen != "7" else "i think it is 7"
    assert worlds.courteous(pair(name, chosen, other))["chosen"][0]["content"] == expected


@pytest.mark.campaign
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", ["noise", "short"])
def test_a_comparison_says_what_is_known_of_a_world(worlds, name, tmp_path):
    assert worlds.main([name, "--storage", str(tmp_path)]) == 0
