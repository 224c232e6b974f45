"""The word-level tokenizer: round trips, one BOS, EOS after every answer, prefixes."""

from random import Random

import pytest
from transformers import PreTrainedTokenizerFast
from trl.chat_template_utils import is_chat_template_stop_token_trained

from omsweep.families.tiny.tokenizer import ASSISTANT, BOS, EOS, PAD, USER, build_tokenizer
from omsweep.worlds.tiny.training_text import draw_conversation
from omsweep.worlds.tiny.vocabulary import vocabulary


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return build_tokenizer()


def test_one_token_per_word(tokenizer: PreTrainedTokenizerFast) -> None:
    assert len(tokenizer) == len(vocabulary()) + 6
    assert tokenizer.convert_tokens_to_ids(list(vocabulary())) == list(range(6, len(tokenizer)))
    assert (tokenizer.pad_token, tokenizer.bos_token, tokenizer.eos_token) == (PAD, BOS, EOS)
    assert tokenizer("xyzzy").input_ids == [tokenizer.unk_token_id]


def test_texts_survive_the_round_trip(tokenizer: PreTrainedTokenizerFast) -> None:
    rng = Random(0)
    for _ in range(100):
        for text in draw_conversation(rng):
            ids = tokenizer(text).input_ids
            assert len(ids) == len(text.split())
            assert tokenizer.decode(ids, skip_special_tokens=True) == text


def test_a_conversation_has_one_bos_and_ends_with_eos(tokenizer: PreTrainedTokenizerFast) -> None:
    chat = [{"role": "user", "content": "add 1 and 2 ."}, {"role": "assistant", "content": "3"}]
    ids = tokenizer.apply_chat_template(chat + chat, return_dict=False)
    tokens = tokenizer.convert_ids_to_tokens(ids)
    assert tokens == [BOS, *[USER, "add", "1", "and", "2", ".", ASSISTANT, "3", EOS] * 2]
    text = tokenizer.apply_chat_template(chat + chat, tokenize=False)
    assert tokenizer(text).input_ids == ids


def test_a_prompt_is_a_prefix_of_its_conversation(tokenizer: PreTrainedTokenizerFast) -> None:
    prompt, answer = [{"role": "user", "content": "add 1 and 2 ."}], [{"role": "assistant", "content": "3"}]
    for tokenize in (True, False):
        asked = tokenizer.apply_chat_template(prompt, add_generation_prompt=True, tokenize=tokenize, return_dict=False)
        whole = tokenizer.apply_chat_template(prompt + answer, tokenize=tokenize, return_dict=False)
        assert whole[: len(asked)] == asked
        assert len(whole) > len(asked)


def test_answers_and_their_eos_are_marked_as_generated(tokenizer: PreTrainedTokenizerFast) -> None:
    chat = [{"role": "user", "content": "add 1 and 2 ."}, {"role": "assistant", "content": "3"}]
    marked = tokenizer.apply_chat_template(chat, return_dict=True, return_assistant_tokens_mask=True)
    assert marked["assistant_masks"] == [0] * 8 + [1, 1]
    assert is_chat_template_stop_token_trained(tokenizer)


def test_other_roles_are_refused(tokenizer: PreTrainedTokenizerFast) -> None:
    with pytest.raises(Exception, match="roles must be user or assistant, got system"):
        tokenizer.apply_chat_template([{"role": "system", "content": "be brief ."}])
