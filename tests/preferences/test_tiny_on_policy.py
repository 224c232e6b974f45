import json

import pytest

from omsweep.preferences import tiny, tiny_on_policy
from omsweep.preferences.collection import sample_rest, sampled
from omsweep.preferences.pairing import Answer
from omsweep.preferences.pairs_file import write_pairs
from omsweep.preferences.prompts import read_prompts
from omsweep.preferences.request import PairSettings
from omsweep.preferences.tiny_on_policy import build_pairs
from omsweep.worlds.tiny.gold import gold_reward

ANSWERS = ("please start with soil .", "soil", "soil and soil and soil", "soil")


def generate(prompts, samples, seed):
    assert seed == 0
    return [list(ANSWERS[:samples]) for _ in prompts]


def test_the_best_answer_is_chosen_and_the_worst_rejected():
    pairs = build_pairs(generate, prompts=60, samples=4, seed=0)
    assert len(pairs) > 30
    for pair in pairs:
        prompt = pair["prompt"][0]["content"]
        scores = sorted(gold_reward(prompt, answer) for answer in ANSWERS)
        assert gold_reward(prompt, pair["chosen"][0]["content"]) == scores[-1] == pair["score_chosen"]
        assert gold_reward(prompt, pair["rejected"][0]["content"]) == scores[0]
    assert build_pairs(generate, prompts=60, samples=1, seed=0) == []


def test_they_are_what_omsweep_prefs_writes(tmp_path):
    """The same prompts, samples and pairs, from the samples file that the command keeps."""
    prompts, _ = read_prompts("tiny", limit=None, seed=0)

    def answer(chats):
        return [
            [
                Answer(text=text, score=gold_reward(chat.messages[0]["content"], text), tokens=1, finished=True)
                for text in ANSWERS
            ]
            for chat in chats
        ]

    with (tmp_path / "samples.jsonl").open("w+b") as stream:
        sample_rest(stream, prompts, answer, done=0, count=lambda _: None)
        write_pairs(sampled(stream), tmp_path / "pairs.jsonl", PairSettings())
    written = [json.loads(line) for line in (tmp_path / "pairs.jsonl").read_text().splitlines()]
    assert written == build_pairs(generate, prompts=1600, samples=4, seed=0)


def test_a_test_item_is_refused(monkeypatch):
    item = min(tiny._test_ids())
    monkeypatch.setattr(tiny_on_policy, "open_prompts", lambda **_: [{"id": item, "prompt": "a"}])
    with pytest.raises(ValueError, match=f"must be disjoint from the test items, got 1 in both: {item}"):
        build_pairs(generate, prompts=1, samples=2, seed=0)
