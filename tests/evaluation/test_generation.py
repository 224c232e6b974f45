import random

import numpy as np
import pytest
import torch

from omsweep.evaluation import generation
from omsweep.evaluation.backends import batches, prefix
from omsweep.evaluation.generation import answers, generate, questions
from omsweep.evaluation.spread import Models
from omsweep.families.decoding import resolved_decoding


def chats(*texts):
    return [[{"role": "user", "content": text}] for text in texts]


PROMPTS = chats("say one", "sum one two three please", "say yes", "sum two please", "yes")


def ids(completions):
    return [[completion.token_ids for completion in row] for row in completions]


def test_greedy_follows_the_largest_logit_without_cache_or_padding(llama, tokenizer):
    drawn = generate(llama, tokenizer, PROMPTS, temperature=0.0, max_new_tokens=6)
    for prompt, (completion,) in zip(PROMPTS, drawn, strict=True):
        tokens = tokenizer(
            tokenizer.apply_chat_template(prompt, tokenize=False, add_generation_prompt=True), add_special_tokens=False
        )["input_ids"]
        expected = []
        with torch.no_grad():
            while len(expected) < 6 and tokenizer.eos_token_id not in expected:
                expected.append(int(llama(torch.tensor([tokens + expected])).logits[0, -1].argmax()))
        assert list(completion.token_ids) == expected
        assert completion.finished == (tokenizer.eos_token_id in expected)


def test_same_seed_same_completions_whatever_the_batch_and_order(llama, tokenizer):
    first = generate(llama, tokenizer, PROMPTS, samples=3, max_new_tokens=8, seed=5)
    assert ids(generate(llama, tokenizer, PROMPTS, samples=3, max_new_tokens=8, seed=5, batch_size=2)) == ids(first)
    backwards = generate(llama, tokenizer, PROMPTS[::-1], samples=3, max_new_tokens=8, seed=5)
    assert ids(backwards)[::-1] == ids(first)
    assert ids(generate(llama, tokenizer, PROMPTS, samples=3, max_new_tokens=8, seed=6)) != ids(first)


def test_fewer_samples_or_prompts_are_a_part_of_more(llama, tokenizer):
    many = generate(llama, tokenizer, PROMPTS, samples=4, max_new_tokens=8)
    few = generate(llama, tokenizer, PROMPTS[:3], samples=2, max_new_tokens=8)
    assert ids(few) == [row[:2] for row in ids(many)[:3]]
    assert len(set(ids(many)[0])) > 1


def test_a_repeated_prompt_gets_its_own_draws(llama, tokenizer):
    drawn = generate(llama, tokenizer, chats("say one") * 2, samples=4, max_new_tokens=8)
    assert ids(drawn)[0] != ids(drawn)[1]


def test_global_random_states_mode_and_defaults_are_left_alone(make_llama, tokenizer):
    model = make_llama(1)
    model.train()
    model.generation_config.repetition_penalty = 5.0
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist(), tokenizer.padding_side
    with_penalty = generate(model, tokenizer, PROMPTS, max_new_tokens=4)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (random.getstate(), np.random.get_state()[1].tolist(), tokenizer.padding_side) == before[1:]
    assert model.training
    assert model.generation_config.repetition_penalty == 5.0
    model.generation_config.repetition_penalty = None
    assert ids(generate(model, tokenizer, PROMPTS, max_new_tokens=4)) == ids(with_penalty)


def test_completion_ends_at_the_first_end_token(make_llama, tokenizer):
    model = make_llama(2)
    word = tokenizer.convert_tokens_to_ids("good")
    model.generation_config.eos_token_id = [tokenizer.eos_token_id, word]
    drawn = [c for row in generate(model, tokenizer, PROMPTS, samples=8, max_new_tokens=12) for c in row]
    stopped_by_word = [c for c in drawn if c.token_ids[-1] == word]
    assert stopped_by_word
    assert all(c.finished and "good" not in c.text and c.length == len(c.token_ids) - 1 for c in stopped_by_word)
    unfinished = [c for c in drawn if not c.finished]
    assert all(len(c.token_ids) == c.length == 12 for c in unfinished)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_leaving_the_batch_early_changes_nothing(llama, tokenizer, monkeypatch, temperature):
    monkeypatch.setattr(generation, "STRIDE", 40)
    at_once = generate(llama, tokenizer, PROMPTS, samples=6, temperature=temperature, max_new_tokens=40)
    lengths = [len(completion.token_ids) for row in at_once for completion in row]
    assert temperature == 0 or min(lengths) < 8 < max(lengths)
    monkeypatch.setattr(generation, "STRIDE", 3)
    assert generate(llama, tokenizer, PROMPTS, samples=6, temperature=temperature, max_new_tokens=40) == at_once


@pytest.mark.parametrize(("bytes_", "logits"), [(1, 2**27), (2**31, 1), (40_000, 40)])
def test_batches_by_memory_change_nothing(llama, tokenizer, monkeypatch, bytes_, logits):
    plenty = generate(llama, tokenizer, PROMPTS, samples=3, max_new_tokens=9)
    monkeypatch.setitem(batches.CACHE_BYTES, "cpu", bytes_)
    monkeypatch.setattr(generation, "LOGITS", logits)
    finished = []
    assert generate(llama, tokenizer, PROMPTS, samples=3, max_new_tokens=9, on_finished=finished.append) == plenty
    assert sum(finished) == 15
    assert len(finished) == (15 if min(bytes_, logits) == 1 else 8)


@pytest.mark.parametrize("stride", [2, 40])
def test_a_stop_text_ends_an_answer_within_a_stride(llama, tokenizer, monkeypatch, stride):
    monkeypatch.setattr(generation, "STRIDE", stride)
    asked = questions(tokenizer, PROMPTS, samples=4, seed=0)
    how = {"decoding": resolved_decoding(tokenizer, llama.generation_config), "longest": 24, "temperature": 1.0}
    whole = answers(Models(llama, tokenizer), asked, **how)
    stopped = answers(Models(llama, tokenizer), asked, **how, stop=["two", "five six"])
    early, two = 0, tokenizer.convert_tokens_to_ids("two")
    for one, other in zip(stopped, whole, strict=True):
        assert one.token_ids == other.token_ids[: len(one.token_ids)]
        words = other.text.split()
        if "two" in words:
            assert "two" in one.text
            early += len(one.token_ids) < len(other.token_ids)
            # a special token is no word, but takes a place
            assert len(one.token_ids) <= stride * (1 + other.token_ids.index(two) // stride)
        elif "five six" not in other.text:
            assert one == other
    assert early > 0 or stride == 40


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_what_prompts_begin_with_alike_is_read_once(llama, tokenizer, monkeypatch, temperature):
    prompts = chats(*(f"say one two three four {' please' * n} {word}" for n in range(4) for word in ("six", "yes")))
    how = {"samples": 2, "temperature": temperature, "max_new_tokens": 12, "batch_size": 5}
    apart = generate(llama, tokenizer, prompts, **how)
    read = []
    monkeypatch.setattr(prefix, "WORTH_TOKENS", 1)
    hook = llama.register_forward_pre_hook(
        lambda _, args, given: read.append(tuple(given["input_ids"].shape)), with_kwargs=True
    )
    try:
        assert generate(llama, tokenizer, prompts, **how) == apart
    finally:
        hook.remove()
    assert (1, 6) in read  # <user> and five words, for a batch of five


def test_a_stop_text_where_all_answers_have_ended(llama, tokenizer):
    whole = generate(llama, tokenizer, PROMPTS, temperature=0.0, max_new_tokens=40)
    ended = [chat for chat, (said,) in zip(PROMPTS, whole, strict=True) if said.finished]
    asked = questions(tokenizer, ended, samples=1, seed=0)
    how = {"decoding": resolved_decoding(tokenizer, llama.generation_config), "longest": 40}
    assert ended
    assert answers(Models(llama, tokenizer), asked, **how, stop=["never"]) == [
        said for (said,) in whole if said.finished
    ]


def test_no_prompts_no_completions(llama, tokenizer):
    assert generate(llama, tokenizer, []) == []


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"samples": 0}, "samples must be at least 1, got 0"),
        ({"max_new_tokens": 0}, "max_new_tokens must be at least 1, got 0"),
        ({"temperature": -1.0}, "temperature must be 0"),
        ({"seed": -1}, "seed must be at least 0, got -1"),
        ({"max_new_tokens": 64}, "prompt 0 has 4 tokens, which leaves no room for max_new_tokens=64"),
    ],
)
def test_mistakes_are_named(llama, tokenizer, settings, message):
    with pytest.raises(ValueError, match=message):
        generate(llama, tokenizer, PROMPTS, **settings)


def test_a_tokenizer_without_template_is_refused(llama, tokenizer):
    template = tokenizer.chat_template
    tokenizer.chat_template = None
    try:
        with pytest.raises(ValueError, match="no chat template"):
            generate(llama, tokenizer, PROMPTS)
    finally:
        tokenizer.chat_template = template
