"""What ends an answer, what of a checkpoint counts, and what a family may say about it."""

from typing import Any

import pytest
from transformers import AutoTokenizer, GenerationConfig, PreTrainedTokenizerBase

from omsweep.families.decoding import Decoding, DecodingSettings, resolved_decoding, turn_end, with_arguments
from omsweep.families.load import load_generation_config, load_tokenizer
from omsweep.families.table import FAMILIES, family_from
from omsweep.families.tiny.architecture import random_family
from omsweep.families.tiny.tokenizer import CHAT_TEMPLATE, build_tokenizer

LOCAL = {"name": "mine", "base": "models/base", "sft": "models/sft"}
QUESTION = [{"role": "user", "content": "say yes"}]
THINKING = (
    "{%- for m in messages %} <|{{ m['role'] }}|> {{ m['content'] }} {%- endfor %}\n"
    "{%- if add_generation_prompt and enable_thinking is defined and enable_thinking is false %} quickly{% endif %}"
)


def gemma_like() -> PreTrainedTokenizerBase:
    """Turns end with `<turn>`, which is not the end token."""
    tokenizer = build_tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": ["<turn>"]}, replace_extra_special_tokens=False)
    tokenizer.chat_template = CHAT_TEMPLATE.replace("{{ eos_token }}", "<turn> ")
    return tokenizer


def resolved(tokenizer: Any = None, settings: dict[str, Any] | None = None, **checkpoint: Any) -> Decoding:
    return resolved_decoding(
        tokenizer or build_tokenizer(), GenerationConfig(**checkpoint), DecodingSettings(**(settings or {}))
    )


def test_the_turn_end_is_the_templates_not_the_tokenizers() -> None:
    plain, gemma = build_tokenizer(), gemma_like()
    assert turn_end(plain) == plain.eos_token_id
    assert turn_end(gemma) == gemma.convert_tokens_to_ids("<turn>") != gemma.eos_token_id
    for template in ("{{ messages[0]['content'] }}", "{% for m in messages %} {{ m['content'] }}{% endfor %}", None):
        plain.chat_template = template
        assert turn_end(plain) is None


def test_an_answer_ends_at_turn_end_end_token_the_checkpoints_and_the_familys() -> None:
    decoding = resolved(gemma_like(), {"stop_tokens": ("france", "<turn>")}, eos_token_id=[3, 7])
    assert list(decoding.stop_tokens)[:2] == ["<turn>", "</s>"]
    assert len(decoding.stop_tokens) == len(set(decoding.ends)) == 4
    assert {3, 7} <= set(decoding.ends)
    assert resolved(eos_token_id=3) == resolved(eos_token_id=None) == Decoding(stop_tokens={"</s>": 3})


def test_nothing_else_of_a_checkpoint_counts_and_what_was_set_aside_is_said() -> None:
    said = {"repetition_penalty": 5.0, "temperature": 0.6, "top_p": 1.0, "do_sample": True, "suppress_tokens": [4]}
    decoding = resolved(eos_token_id=3, bos_token_id=2, max_new_tokens=9, transformers_version="5", **said)
    del said["top_p"]  # changes nothing
    assert decoding.set_aside == said
    assert decoding.repetition_penalty == 1.0
    assert resolved(settings={"repetition_penalty": 1.2}).repetition_penalty == 1.2


def test_what_was_resolved_survives_as_plain_data() -> None:
    decoding = resolved(gemma_like(), {"template_arguments": {"think": False, "level": 1}}, top_k=3)
    assert Decoding(**decoding.model_dump(mode="json")) == decoding
    assert decoding.template_arguments["think"] is False


def test_a_checkpoint_without_generation_settings_gives_those_of_its_configuration(tmp_path: Any) -> None:
    folder = random_family(tmp_path / "model", hidden_size=32, intermediate_size=32)
    assert load_generation_config(str(folder)).eos_token_id == 3
    (folder / "generation_config.json").unlink()
    assert load_generation_config(str(folder)).eos_token_id == 3


def test_template_arguments_are_set_whoever_renders(tmp_path: Any) -> None:
    folder = str(random_family(tmp_path / "model", hidden_size=32, intermediate_size=32))
    arguments = {"enable_thinking": False, "said": 'a "b"'}
    tokenizer = load_tokenizer(folder, chat_template=THINKING, template_arguments=arguments)
    asked = {"tokenize": False, "add_generation_prompt": True}
    plain = load_tokenizer(folder, chat_template=THINKING)
    assert "quickly" not in plain.apply_chat_template(QUESTION, **asked)
    expected = plain.apply_chat_template(QUESTION, enable_thinking=False, **asked)
    assert expected.endswith(" quickly")
    assert tokenizer.apply_chat_template(QUESTION, **asked) == expected
    tokenizer.save_pretrained(tmp_path / "policy")
    assert AutoTokenizer.from_pretrained(tmp_path / "policy").apply_chat_template(QUESTION, **asked) == expected


@pytest.mark.parametrize(
    "start", ["", "\n", "  ", "  {% if true %}", "{#- note -#}\n", "{%- if true %}\n", "\n\n{{ 1 }}"]
)
def test_setting_a_variable_changes_nothing_else_of_a_template(start: str) -> None:
    tokenizer = build_tokenizer()
    template = start + "{{ messages[0]['content'] }}\n" + ("{% endif %}" if "if true" in start else "")
    rendered = [
        tokenizer.apply_chat_template(QUESTION, tokenize=False, chat_template=text)
        for text in (template, with_arguments(template, {"a": True, "b": "c"}))
    ]
    assert rendered[0] == rendered[1]


@pytest.mark.parametrize(
    ("decoding", "message"),
    [
        (
            {"temperature": 0.7},
            "decoding.temperature is an unknown key; allowed: template_arguments, stop_tokens, repetition_penalty",
        ),
        ({"repetition_penalty": 0}, "decoding.repetition_penalty must be greater than 0, got 0"),
        ({"template_arguments": {"tools": "x"}}, "template variables other than messages, .*got {'tools': 'x'}"),
        ({"template_arguments": {"a b": 1}}, "template variables other than messages, .*got {'a b': 1}"),
        ({"stop_tokens": "x"}, "decoding.stop_tokens must be a valid tuple, got 'x'"),
    ],
)
def test_mistakes_in_a_familys_decoding_are_named(decoding: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        family_from({**LOCAL, "decoding": decoding})


def test_a_family_says_it_in_a_search_space() -> None:
    said = {"template_arguments": {"enable_thinking": False}, "stop_tokens": ["<turn>"], "repetition_penalty": 1.1}
    assert family_from({**LOCAL, "decoding": said}).decoding == DecodingSettings(**said)
    like = family_from({"name": "mine", "like": "qwen3-0.6b", "sft": "models/sft"})
    assert like.decoding == FAMILIES["qwen3-0.6b"].decoding
    assert like.decoding.template_arguments == {"enable_thinking": False}


def test_a_stop_token_must_be_the_tokenizers_and_something_must_end_answers() -> None:
    with pytest.raises(ValueError, match=r"decoding.stop_tokens must be tokens of the tokenizer, got \['<turn>'\]"):
        resolved(settings={"stop_tokens": ("<turn>",)})
    endless = build_tokenizer()
    endless.eos_token = endless.chat_template = None
    with pytest.raises(ValueError, match="neither the tokenizer nor the model names an end token"):
        resolved(endless)
