"""What turns text into tokens: one hash that training and scoring must agree on, and records it cannot render."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from omsweep.families.chat_template import Template, Turns, answer_problem, check_answer_ends

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

ANSWERS = ("chosen", "rejected", "completion")


def tokenizer_hash(tokenizer: "PreTrainedTokenizerBase") -> str:
    """Sixteen hex digits of chat template, special tokens and vocabulary."""
    content = {
        "chat_template": tokenizer.chat_template,
        "special_tokens": {name: str(token) for name, token in tokenizer.special_tokens_map.items()},
        "vocabulary": sorted(tokenizer.get_vocab().items()),
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def check_renderable(
    records: Iterable[Mapping[str, Any]], template: Template, *, source: str, family: str, rendering: str = "chat"
) -> list[str]:
    """Refuse records that a family's template cannot render so that scoring would ask the same.

    Args:
        records: preference records; of those with a field `record` that is their number, else their place is.
        template: the family's.
        source: what the data are called.
        family: what the family is called.
        rendering: as of the preference data; plain texts are rendered as a user's and an assistant's turn by `chat`.

    Returns:
        What is worth knowing: text that the template adds to answers.

    Raises:
        ValueError: with the record's number and a remedy; a template that does not end answers.
    """
    added: dict[str, list[int]] = {}
    ends = False
    for place, record in enumerate(records):
        number = record.get("record", place)
        for name, prompt, answer in conversations(record, rendering):
            problem, text = answer_problem(template, prompt, answer)
            if problem:
                raise ValueError(f"{source}: record {number}, {name}: the chat template of {family} renders {problem}")
            if not ends:
                check_answer_ends(template, family)
                ends = True
            if text:
                added.setdefault(text, []).append(number)
    return [
        f"{source}: the chat template of {family} writes {text!r} in front of {len(numbers)} answers (first: record"
        f" {numbers[0]}), which are trained with it"
        for text, numbers in added.items()
    ]


def of_each_kind(records: Iterable[Mapping[str, Any]], rendering: str = "chat") -> Iterator[Mapping[str, Any]]:
    """The first record of each succession of roles, thoughts or none: what a look at a template in passing needs."""
    seen = set()
    for place, record in enumerate(records):
        kind = tuple(
            tuple((turn["role"], "</think>" in turn["content"]) for turn in [*prompt, *answer])
            for _, prompt, answer in conversations(record, rendering)
        )
        if kind not in seen:
            seen.add(kind)
            yield {"record": place, **record}


def conversations(record: Mapping[str, Any], rendering: str) -> list[tuple[str, Turns, Turns]]:
    """Name of the answer, prompt and answer as turns; nothing of a record that is not rendered by a template."""
    found: list[tuple[str, Turns, Turns]] = []
    for name in ANSWERS:
        prompt, answer = record.get("prompt"), record.get(name)
        if isinstance(answer, list) and not isinstance(prompt, list):
            prompt, answer = answer[:-1], answer[-1:]  # a whole conversation
        elif isinstance(prompt, str) and isinstance(answer, str) and rendering == "chat":
            prompt, answer = ({"role": "user", "content": prompt},), ({"role": "assistant", "content": answer},)
        if isinstance(prompt, Sequence) and isinstance(answer, Sequence) and _are_turns(prompt) and _are_turns(answer):
            found.append((name, prompt, answer))
    return found


def _are_turns(value: Sequence[Any]) -> bool:
    return bool(value) and all(
        isinstance(turn, Mapping) and isinstance(turn.get("content"), str) and isinstance(turn.get("role"), str)
        for turn in value
    )
