"""What the items of a suite ask of a model: lm-eval's requests, rendered, read by the tokenizer, and kept."""

import hashlib
import warnings
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from lm_eval.api.instance import Instance
from lm_eval.defaults import DEFAULT_OTHER_SEED
from lm_eval.models.utils import normalize_gen_kwargs

from omsweep.evaluation.backends.interface import Continuation, Question
from omsweep.evaluation.suite import Suite
from omsweep.families.chat_template import check_prompts, template_of

LONGEST = 256
"""Tokens of an answer where a task's `generation_kwargs` names none, as lm-eval's Hugging Face model has it."""


@dataclass(frozen=True, kw_only=True)
class Answered:
    """How an item's answer ends: texts, and the longest length in tokens."""

    until: tuple[str, ...]
    longest: int


@dataclass(frozen=True, kw_only=True)
class Requests:
    """The requests of some items.

    Attributes:
        instances: of each task, in the items' order; several belong to one item of multiple choice.
        questions: how answers end -> what is asked, by the place of its instance among all.
        continuations: the same of those whose likelihood is asked.
    """

    instances: Mapping[str, tuple[Instance, ...]]
    questions: Mapping[Answered, Mapping[int, Question]]
    continuations: Mapping[int, Continuation]


@dataclass(frozen=True)
class Reader:
    """A tokenizer, equal to any other that renders and reads the same."""

    key: Hashable
    tokenizer: Any = field(compare=False)

    @classmethod
    def of(cls, tokenizer: Any) -> "Reader":
        """The reader of a tokenizer of transformers."""
        fast = getattr(tokenizer, "backend_tokenizer", None)
        if fast is None:
            return cls(tokenizer, tokenizer)
        said = f"{tokenizer.get_chat_template() if templated(tokenizer) else None}\n{tokenizer.special_tokens_map}"
        return cls(hashlib.sha256(f"{said}\n{fast.to_str()}".encode()).hexdigest(), tokenizer)


def templated(tokenizer: Any) -> bool:
    """Whether a tokenizer has a chat template."""
    return bool(getattr(tokenizer, "chat_template", None))


@lru_cache(maxsize=8)
def requests_of(suite: Suite, split: str, limit: int | None, reader: Reader, context: int | None) -> Requests:
    """The requests of a split of a suite; a process makes them once for all models that read alike.

    Chats are rendered by the tokenizer's template, without one they are plain text. Examples that prompts show are
    drawn with lm-eval's own seed. What is longer than the model's context is cut from the left, with a warning.

    Args:
        suite: its tasks.
        split: `search` or `report`.
        limit: items per task, see `Suite.chosen`.
        reader: the tokenizer.
        context: tokens of the model's context; None: not known.

    Raises:
        ValueError: a split without items, a prompt that the template cannot ask, or a task that asks for something
            else than answers and likelihoods.
    """
    instances = {}
    for task in suite.tasks.values():  # all of them first: tasks of a group may share what draws their examples
        task.set_fewshot_seed(seed=DEFAULT_OTHER_SEED)
    for name, items in suite.chosen(split, limit).items():
        task = suite.tasks[name]
        task.build_all_requests(
            samples=[item.index for item in items],
            apply_chat_template=templated(reader.tokenizer),
            fewshot_as_multiturn=templated(reader.tokenizer),
            chat_template=_render(reader.tokenizer) if templated(reader.tokenizer) else None,
            tokenizer_name=reader.tokenizer.name_or_path,
        )
        instances[name] = tuple(task.instances)
        odd = sorted({one.request_type for one in instances[name]} - {"generate_until", "loglikelihood"})
        if odd:
            raise ValueError(f"task {name!r}: output_type {odd[0]} gives no score in [0, 1] of an item")
    every = [one for of_task in instances.values() for one in of_task]
    return Requests(
        instances=instances,
        questions=_questions(every, reader.tokenizer, context),
        continuations=_continuations(every, reader.tokenizer, context),
    )


def _render(tokenizer: Any) -> Any:
    template, name = template_of(tokenizer), tokenizer.name_or_path or "the tokenizer"

    def render(chat: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        check_prompts(template, [(f"tax item {chat[-1]['content']!r:.80}", chat)], name)
        return str(
            tokenizer.apply_chat_template(
                chat,
                tokenize=False,
                add_generation_prompt=add_generation_prompt,
                continue_final_message=not add_generation_prompt,
            )
        )

    return render


def _questions(
    instances: Sequence[Instance], tokenizer: Any, context: int | None
) -> dict[Answered, dict[int, Question]]:
    asked = {place: one.args for place, one in enumerate(instances) if one.request_type == "generate_until"}
    read = _read(tokenizer, [text for text, _ in asked.values()])
    found: dict[Answered, dict[int, Question]] = {}
    cut = 0
    for place, (text, settings) in asked.items():
        kind, ids = _answered(settings), read[text]
        room = len(ids) if context is None else context - kind.longest
        if room < 1:
            raise ValueError(f"max_gen_toks must leave room in the model's context of {context}, got {kind.longest}")
        cut += len(ids) > room
        found.setdefault(kind, {})[place] = Question(text=text, token_ids=ids[-room:])
    _say_cut(cut, context)
    return found


def _answered(settings: Mapping[str, Any]) -> Answered:
    kept = normalize_gen_kwargs(dict(settings), LONGEST)
    until, longest = kept.pop("until"), kept.pop("max_gen_toks")
    if kept.get("do_sample") or set(kept) - {"do_sample", "temperature"}:
        warnings.warn(
            f"tax items are answered greedily under the family's decoding, generation_kwargs {kept} do not count",
            stacklevel=2,
        )
    return Answered(until=tuple(until), longest=longest)


def _continuations(instances: Sequence[Instance], tokenizer: Any, context: int | None) -> dict[int, Continuation]:
    asked = {place: _apart(*one.args) for place, one in enumerate(instances) if one.request_type == "loglikelihood"}
    read = _read(tokenizer, [text for first, second in asked.values() for text in (first, first + second) if text])
    found: dict[int, Continuation] = {}
    cut = 0
    for place, (first, second) in asked.items():
        before, whole = read.get(first, ()), read[first + second]
        if not before:  # what stands first has no likelihood: the BOS, or the first token itself
            start = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
            before, whole = (start,), whole if whole[:1] == (start,) else (start, *whole)
        after = whole[len(before) :]
        room = len(before) if context is None else context + 1 - len(after)
        if not after or room < 1:
            raise ValueError(
                f"continuation {second!r:.80} of {first!r:.80} must have 1 to {context} tokens, got {len(after)}"
            )
        cut += len(before) > room
        found[place] = before[-room:], after
    _say_cut(cut, context)
    return found


def _apart(context: str, continuation: str) -> tuple[str, str]:
    """Spaces at a context's end go to the continuation, where tokenizers have them."""
    kept = context.rstrip() if context.strip() else context
    return kept, context[len(kept) :] + continuation


def _read(tokenizer: Any, texts: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """Tokens of each text; a rendered chat gets no special token, plain text those that the tokenizer adds."""
    plain = not templated(tokenizer)
    found: dict[str, tuple[int, ...]] = {}
    for special in (False, True):
        begun = [one for one in dict.fromkeys(texts) if special == (plain and not _has_bos(tokenizer, one))]
        if begun:
            encoded = tokenizer(begun, add_special_tokens=special)["input_ids"]
            found |= {text: tuple(ids) for text, ids in zip(begun, encoded, strict=True)}
    return found


def _has_bos(tokenizer: Any, text: str) -> bool:
    return bool(tokenizer.bos_token) and text.startswith(tokenizer.bos_token)


def _say_cut(count: int, context: int | None) -> None:
    if count:
        warnings.warn(f"{count} tax prompts were cut to the model's context of {context} tokens", stacklevel=3)
