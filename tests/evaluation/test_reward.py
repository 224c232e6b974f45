import copy
import json
import math

import pytest

from omsweep.evaluation.generation import generate
from omsweep.evaluation.reward import score_reward
from omsweep.evaluation.score import COLUMNS
from omsweep.worlds.tiny.gold import gold_reward
from tests.evaluation.conftest import CHAT


@pytest.fixture
def tiny(prompts_file):
    return {"scorer": {"scorer": "tiny", "prompts": str(prompts_file)}, "max_new_tokens": 8, "split": "search"}


def test_rows_are_the_completions_of_generate_and_their_gold_reward(llama, tokenizer, tiny, prompts_file):
    scores = score_reward(llama, tokenizer, **tiny, samples=3, seed=2)
    assert tuple(scores.columns) == COLUMNS
    words = ["one", "two", "three", "four", "five", "six", "yes", "no"]
    texts = [f"say {a} {b}" for a in words for b in words[:3]][1::2]
    chats = [[{"role": "user", "content": text}] for text in texts]
    drawn = generate(llama, tokenizer, chats, samples=3, max_new_tokens=8, seed=2)
    sampled = scores[scores["decoder"] == "sampled"]
    assert list(sampled["completion"]) == [completion.text for row in drawn for completion in row]
    assert list(sampled["length"]) == [completion.length for row in drawn for completion in row]
    assert list(sampled["item_id"]) == [f"p{2 * number + 1}" for number in range(12) for _ in range(3)]
    assert list(sampled["sample"]) == [0, 1, 2] * 12
    by_hand = [gold_reward(text, c.text) for text, row in zip(texts, drawn, strict=True) for c in row]
    assert list(sampled["score"]) == by_hand
    greedy = scores[scores["decoder"] == "greedy"]
    drawn = generate(llama, tokenizer, chats, temperature=0.0, max_new_tokens=8)
    assert list(greedy["completion"]) == [row[0].text for row in drawn]


def test_kl_is_zero_against_itself_positive_on_average_against_another(llama, make_llama, tokenizer, tiny):
    itself = score_reward(llama, tokenizer, **tiny, reference_model=llama)
    assert set(itself.loc[itself["decoder"] == "sampled", "kl"]) == {0.0}
    assert itself.loc[itself["decoder"] == "greedy", "kl"].isna().all()
    other = score_reward(llama, tokenizer, **tiny, samples=8, reference_model=make_llama(1))
    assert other.loc[other["decoder"] == "sampled", "kl"].mean() > 0.1
    without = score_reward(llama, tokenizer, **tiny)
    assert without["kl"].map(math.isnan).all()


def test_kl_at_another_temperature_warns(llama, tokenizer, tiny):
    with pytest.warns(UserWarning, match="kl is that of temperature 1, but samples are drawn at 0.5"):
        score_reward(llama, tokenizer, **tiny, temperature=0.5, reference_model=llama, limit=2)


def test_limit_and_seed(llama, tokenizer, tiny):
    first = score_reward(llama, tokenizer, **tiny, limit=2)
    assert first["item_id"].nunique() == 2
    everything = score_reward(llama, tokenizer, **tiny)
    assert first.equals(everything[everything["item_id"].isin(first["item_id"])].reset_index(drop=True))
    other = score_reward(llama, tokenizer, **tiny, limit=2, seed=1)
    assert list(other["completion"]) != list(first["completion"])


def test_an_unknown_split_is_named(llama, tokenizer, tiny):
    with pytest.raises(ValueError, match="split must be one of"):
        score_reward(llama, tokenizer, **{**tiny, "split": "train"})


def test_a_prompt_whose_system_turn_the_template_refuses_is_named(llama, tokenizer, tiny, prompts_file, tmp_path):
    chat = [{"role": "system", "content": "say one"}, {"role": "user", "content": "say"}]
    own = tmp_path / "prompts.jsonl"
    own.write_text(json.dumps({"id": "mine", "split": "search", "messages": chat}) + "\n")
    mine = copy.deepcopy(tokenizer)
    mine.chat_template = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no') }}{% endif %}" + CHAT
    with pytest.raises(
        ValueError, match=r"reward prompt mine: the chat template of .* renders no system turn here: no;"
    ):
        score_reward(llama, mine, **tiny | {"scorer": {"scorer": "tiny", "prompts": str(own)}})
