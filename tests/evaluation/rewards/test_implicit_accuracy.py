import json

import numpy as np
import pytest

from omsweep.evaluation.backends.likelihood import divergences
from omsweep.evaluation.generation import encode_prompts
from omsweep.evaluation.rewards.implicit_accuracy import score_pairs
from omsweep.evaluation.settings import EvaluateSettings, RewardSettings
from omsweep.families.decoding import resolved_decoding

WORDS = ["one", "two", "three", "four", "five", "six"]


@pytest.fixture
def pairs(tmp_path):
    file = tmp_path / "pairs.jsonl"
    lines = [
        {
            "prompt": f"say {a} {b}",
            "chosen": [{"role": "user", "content": "x"}, {"role": "assistant", "content": a}],
            "rejected": f"{b} please",
            "split": "search",
        }
        for a in WORDS
        for b in WORDS
    ]
    file.write_text("".join(json.dumps(one) + "\n" for one in lines))
    return RewardSettings(scorer="implicit_accuracy", prompts=str(file), name="held")


def test_a_pair_counts_where_the_policy_moved_towards_the_chosen_answer(llama, make_llama, tokenizer, pairs):
    decoding = resolved_decoding(tokenizer, llama.generation_config)
    given = {"reward": pairs, "split": "search", "decoding": decoding}
    found = score_pairs(make_llama(5), tokenizer, reference_model=llama, **given)
    assert set(found["task"]) == {"held"}
    assert len(found) == 36
    chat, end = [{"role": "user", "content": "say one two"}], decoding.ends[0]
    answers = [[*tokenizer(text, add_special_tokens=False)["input_ids"], end] for text in ("one", "two please")]
    told = divergences(make_llama(5), llama, encode_prompts(tokenizer, [chat, chat]), answers)[:, 1]
    assert found["score"].iat[1] == float(told[0] > told[1])
    assert set(found["score"]) == {0.0, 1.0}
    assert set(score_pairs(llama, tokenizer, reference_model=llama, **given)["score"]) == {0.5}
    assert set(score_pairs(llama, tokenizer, **given)["score"]) == {0.5}
    swapped = score_pairs(llama, tokenizer, reference_model=make_llama(5), **given)
    assert np.allclose(swapped["score"] + found["score"], 1.0)


def test_prompts_without_a_pair_are_named_and_it_is_no_objective(llama, tokenizer, prompts_file):
    reward = RewardSettings(scorer="implicit_accuracy", prompts=str(prompts_file))
    decoding = resolved_decoding(tokenizer, llama.generation_config)
    with pytest.raises(ValueError, match=r"needs chosen and rejected, prompt \S+ has none"):
        score_pairs(llama, tokenizer, reward=reward, split="search", decoding=decoding)
    with pytest.raises(ValueError, match="is recorded in rewards only"):
        EvaluateSettings(reward="implicit_accuracy")
