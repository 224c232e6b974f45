"""How a family's models are made to answer: one policy for tax, reward and answers that become pairs. Torch-free."""

import json
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

TemplateValue = bool | int | float | str

_GIVEN_BY_US = ("messages", "add_generation_prompt", "continue_final_message", "tools", "documents")
_SAYS_NOTHING_OF_TEXT = {
    "eos_token_id",  # counts, among the stop tokens
    "bos_token_id",
    "pad_token_id",
    "decoder_start_token_id",
    "max_length",
    "max_new_tokens",
    "cache_implementation",
    "transformers_version",
}
_PROBE = "probe"


class DecodingSettings(BaseModel):
    """What a family says about decoding; a key left out changes nothing.

    Attributes:
        template_arguments: variables of the chat template, such as `enable_thinking: false`; they hold wherever text
            is rendered: in training data, tax items and reward prompts.
        stop_tokens: tokens that end an answer, beside the template's turn end, the tokenizer's end token and the
            checkpoint's `eos_token_id`.
        repetition_penalty: transformers' penalty on tokens of prompt and answer so far; 1 is none.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    template_arguments: Mapping[str, TemplateValue] = Field(default_factory=dict)
    stop_tokens: tuple[str, ...] = ()
    repetition_penalty: Annotated[float, Field(gt=0)] = 1.0

    @field_validator("template_arguments")
    @classmethod
    def _names_a_variable(cls, value: Mapping[str, TemplateValue]) -> Mapping[str, TemplateValue]:
        for name in value:
            if not name.isidentifier() or name in _GIVEN_BY_US:
                raise ValueError(f"names of template variables other than {', '.join(_GIVEN_BY_US)}")
        return value


PLAIN = DecodingSettings()


class Decoding(BaseModel):
    """The policy in force for one SFT model and all policies trained from it. Plain data.

    What a checkpoint's `generation_config` says beside `eos_token_id` never counts: sampling belongs to
    `evaluate.temperature`, the rest to the family's `decoding`.

    Attributes:
        stop_tokens: token -> id of what ends an answer; the first is the template's turn end where it has one.
        repetition_penalty: see `DecodingSettings`.
        template_arguments: see `DecodingSettings`; they are set in the tokenizer's template already.
        set_aside: settings of the checkpoint's `generation_config` that do not count.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    stop_tokens: Mapping[str, int]
    repetition_penalty: float = 1.0
    template_arguments: Mapping[str, TemplateValue] = Field(default_factory=dict)
    set_aside: Mapping[str, Any] = Field(default_factory=dict)

    @property
    def ends(self) -> tuple[int, ...]:
        """The ids of the stop tokens."""
        return tuple(self.stop_tokens.values())


def resolved_decoding(tokenizer: Any, generation_config: Any, settings: DecodingSettings = PLAIN) -> Decoding:
    """The policy of a checkpoint.

    Args:
        tokenizer: with the template that training and scoring use.
        generation_config: the checkpoint's, of transformers.
        settings: the family's.

    Raises:
        ValueError: nothing ends an answer, or a stop token that the tokenizer does not have.
    """
    vocabulary = tokenizer.get_vocab()
    unknown = [token for token in settings.stop_tokens if token not in vocabulary]
    if unknown:
        raise ValueError(
            f"decoding.stop_tokens must be tokens of the tokenizer, got {unknown}; its special tokens are "
            f"{tokenizer.all_special_tokens}"
        )
    own = generation_config.eos_token_id
    ends = [turn_end(tokenizer), tokenizer.eos_token_id, *(own if isinstance(own, list) else [own])]
    ends = [end for end in ends if end is not None] + [vocabulary[token] for token in settings.stop_tokens]
    if not ends:
        raise ValueError("neither the tokenizer nor the model names an end token (eos_token)")
    return Decoding(
        stop_tokens={str(tokenizer.convert_ids_to_tokens(end)): end for end in ends},
        repetition_penalty=settings.repetition_penalty,
        template_arguments=settings.template_arguments,
        set_aside=_set_aside(generation_config),
    )


def turn_end(tokenizer: Any) -> int | None:
    """The special token with which the chat template ends the assistant's turn; None where it writes none.

    It need not be the tokenizer's `eos_token`: Gemma's template ends turns with `<end_of_turn>`.
    """
    if not getattr(tokenizer, "chat_template", None):
        return None
    chat = [{"role": "user", "content": "a"}, {"role": "assistant", "content": _PROBE}]
    _, found, tail = tokenizer.apply_chat_template(chat, tokenize=False).rpartition(_PROBE)
    special = {*tokenizer.all_special_ids, *tokenizer.get_added_vocab().values()}
    ids = tokenizer(tail, add_special_tokens=False)["input_ids"] if found else []
    return next((token for token in ids if token in special), None)


def with_arguments(template: str, arguments: Mapping[str, TemplateValue]) -> str:
    """A chat template in which variables are set, whatever it is called with.

    The line break after each block is taken away by Jinja as transformers sets it up (`trim_blocks`).
    """
    return "".join(f"{{% set {name} = {json.dumps(value)} %}}\n" for name, value in arguments.items()) + template


def _set_aside(generation_config: Any) -> dict[str, Any]:
    neutral = generation_config._get_default_generation_params()
    said = json.loads(generation_config.to_json_string(use_diff=True))
    return {
        name: value
        for name, value in said.items()
        if name not in _SAYS_NOTHING_OF_TEXT and not name.startswith(("_", "output_")) and value != neutral.get(name)
    }
