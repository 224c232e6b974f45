"""One preference record: which shape it has, and what is taken from it. Plain Python.

What is taken always has a prompt of its own: `prompt`, `chosen`, `rejected`, or `prompt`, `completion`, `label`, all
texts or all lists of messages with `role` and `content`.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from omsweep.preferences import turns
from omsweep.preferences.settings import Messages
from omsweep.preferences.turns import Unusable

PAIRED_COLUMNS = ("prompt", "chosen", "rejected")
UNPAIRED_COLUMNS = ("prompt", "completion", "label")
Kind = Literal["paired", "unpaired", "answers"]
"""`answers`: prompt and completion without a label, as SFT data are."""

_NOT_RENDERED = ("tools", "system", "images", "image", "videos", "audio", "history", "chat_template_kwargs")
_PROMPTS_ELSEWHERE = ("question", "instruction", "query", "input", "conversations", "conversation")
_KNOWN_ELSEWHERE = {
    "conversations": "ShareGPT's conversations: write them as messages with role and content, human as user, gpt as"
    " assistant",
    "completions": "UltraFeedback's completions: make pairs of the best and the worst rated one of each instruction",
    "kto_tag": "kto_tag is called label here",
    "messages": "messages without label are SFT data, which `replay` takes",
    "preferred_output": "preferred_output is called chosen here, non_preferred_output rejected, input prompt",
}


class Shape(NamedTuple):
    """What the records of a file have in common: `content` is messages, text or dialogue (None: only nulls)."""

    kind: Kind
    content: str | None
    prompt: bool

    def agrees(self, other: "Shape") -> bool:
        """Whether one file may hold both: nulls are of any content."""
        return self.kind == other.kind and (None in (self.content, other.content) or self == other)

    def describe(self) -> str:
        """As in a message."""
        what = {"paired": "a pair", "unpaired": "a labelled completion", "answers": "an answer"}[self.kind]
        content = {"dialogue": "Human: and Assistant: dialogues", None: "nulls"}.get(self.content, self.content)
        return f"{what} of {content} {'with' if self.prompt else 'without'} a prompt of its own"


def kind_of(columns: Iterable[str], *, answers: bool = False) -> Kind:
    """Whether records are pairs (prompt, chosen, rejected) or single judged completions (prompt, completion, label).

    A paired record may lack `prompt`: chosen and rejected then begin with it. `messages` whose last is an assistant's
    stand for prompt and completion. With `answers`, SFT data are wanted: prompt and completion, or messages.

    Raises:
        ValueError: neither; the message holds the names found and the names wanted.
    """
    found = set(columns)
    judged = {"prompt", "completion"} <= found or "messages" in found
    if answers:
        if judged:
            return "answers"
        wanted = "replay data must have prompt and completion, or messages that end with the assistant's"
    else:
        if {"chosen", "rejected"} <= found:
            return "paired"
        if judged and "label" in found:
            return "unpaired"
        wanted = (
            f"preference data must have the columns {', '.join(PAIRED_COLUMNS)} (pairs) or"
            f" {', '.join(UNPAIRED_COLUMNS)} (unpaired)"
        )
    known = next((f"; {why}" for name, why in _KNOWN_ELSEWHERE.items() if name in found), "")
    raise ValueError(f"{wanted}, got {', '.join(sorted(map(str, found))) or 'none'}{known}")


def record_id(record: dict[str, Any]) -> str:
    """`prompt-<12 hex digits>` of the record's content, for data sets without an `id` column."""
    content = {key: record[key] for key in sorted(record) if key in PAIRED_COLUMNS + UNPAIRED_COLUMNS}
    return "prompt-" + hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]


def check_disjoint(ids: Sequence[str], reserved: Iterable[str]) -> None:
    """ValueError naming up to five ids when a preference prompt is also a test item; only ids are compared."""
    shared = sorted(set(map(str, ids)) & set(reserved))
    if shared:
        raise ValueError(
            f"preference prompts must be disjoint from the test items, got {len(shared)} in both: "
            f"{', '.join(shared[:5])}"
        )


def shape_of(record: Mapping[str, Any], *, answers: bool, rendering: str) -> Shape:
    """The shape of a record; ValueError for one that has none, or fields of several kinds."""
    kind = _kind(record, answers=answers)
    for name in _NOT_RENDERED:
        if record.get(name) not in (None, "", [], {}):
            raise ValueError(f"{name} is not rendered: write it into the messages, or leave the column out")
    names = _fields(record, kind)
    kinds = {name: _content_of(record[name], name) for name in names if record[name] is not None}
    if "chosen" in names and kinds.get("prompt") == "text" and "messages" in kinds.values():
        whole = all(_begins_asked(record[name]) for name in ("chosen", "rejected") if kinds.get(name) == "messages")
        kinds = {name: content for name, content in kinds.items() if name != "prompt" or not whole}
    found = sorted(set(kinds.values()))
    if len(found) > 1:
        said = " and ".join(f"{name} is {_CALLED[content]}" for name, content in kinds.items())
        raise ValueError(f"{said}: write all of them as text, or all as messages with role and content")
    content = found[0] if found else None
    beginnings = [record[name] for name in ([*kinds] if "prompt" not in kinds else ["prompt"])]
    if content == "text" and turns.are_dialogues(beginnings):
        content = "dialogue"
    prompt = "prompt" in kinds or kind != "paired"
    elsewhere = next((name for name in _PROMPTS_ELSEWHERE if record.get(name)), None)
    if not prompt and record.get("prompt") is None and elsewhere:
        raise ValueError(f"has chosen and rejected, but no prompt; if {elsewhere} is the prompt, call it prompt")
    return Shape(kind, content, prompt)


def _kind(record: Mapping[str, Any], *, answers: bool) -> Kind:
    """The kind by the fields that are not null, where they are enough for one."""
    try:
        return kind_of((name for name, value in record.items() if value is not None), answers=answers)
    except ValueError:
        return kind_of(record, answers=answers)


_CALLED = {"messages": "a list of messages", "text": "text"}


def _fields(record: Mapping[str, Any], kind: Kind) -> tuple[str, ...]:
    if kind == "paired":
        return ("prompt", "chosen", "rejected") if "prompt" in record else ("chosen", "rejected")
    return ("prompt", "completion") if {"prompt", "completion"} <= set(record) else ("messages",)


def _content_of(value: Any, name: str) -> str:
    if isinstance(value, str) and name != "messages":
        return "text"
    if isinstance(value, list):
        return "messages"
    raise ValueError(f"{name} must be text or a list of messages, got {value!r:.60}")


def _begins_asked(value: Sequence[Any]) -> bool:
    """Whether a list of messages begins with another turn than an assistant's, as whole conversations do."""
    return bool(value) and isinstance(value[0], dict) and value[0].get("role") not in (None, "assistant")


def read_record(record: Mapping[str, Any], shape: Shape, *, rendering: str, done: set[str]) -> dict[str, Any]:
    """The fields of a record of a shape that are trained; what was done to get them is added to `done`.

    Raises:
        ValueError: a value of another kind.
        Unusable: the record teaches nothing.
    """
    names = [name for name in _fields(record, shape.kind) if name != "prompt" or shape.prompt]
    if any(record[name] is None for name in names):
        raise Unusable(turns.NULL)
    said = {name: _said(record[name], name, rendering, done) for name in names}
    if not shape.prompt and isinstance(beside := record.get("prompt"), str):
        found = [turn["content"].strip() for turn in said["chosen"]]
        done.add(turns.BESIDE if beside.strip() in found else turns.CONTRARY)
    if "messages" in said:
        if said["messages"] and said["messages"][-1]["role"] != "assistant":
            raise Unusable(turns.UNANSWERED)
        said = {"prompt": said["messages"][:-1], "completion": said["messages"][-1:]}
    if shape.content == "dialogue":
        done.add(turns.DIALOGUE)
        said = {name: _turns_of(value, name, said.get("prompt"), rendering) for name, value in said.items()}
    said = _with_prompt(said, done)
    _check_prompt(said["prompt"])
    for name, value in said.items():
        if name != "prompt":
            _check_answer(value, name, done)
    if shape.kind == "paired" and _content(said["chosen"]) == _content(said["rejected"]):
        raise Unusable(turns.SAME)
    if shape.content == "dialogue" and rendering == "plain":
        said = {name: _written(value, name) for name, value in said.items()}
    if shape.kind == "unpaired":
        if not isinstance(record["label"], bool):
            raise ValueError(f"label must be true or false, got {record['label']!r:.40}")
        said["label"] = record["label"]
    return said


def _said(value: Any, name: str, rendering: str, done: set[str]) -> Any:
    return turns.text(value, name, rendering=rendering) if isinstance(value, str) else turns.messages(value, name, done)


def _turns_of(value: str, name: str, prompt: str | None, rendering: str) -> Messages:
    """A dialogue as turns: whole, or an answer to the prompt beside it, which may end with `Assistant:`."""
    whole = value if prompt is None or name == "prompt" or turns.is_dialogue(value) else f"{turns.ASSISTANT}{value}"
    found = turns.dialogue(whole)
    if rendering == "chat":
        found = [turn | {"content": turn["content"].strip()} for turn in found]
    return found[:-1] if name == "prompt" and not found[-1]["content"].strip() else found


def _written(value: Messages, name: str) -> str:
    """Turns as the text they were taken from: a prompt up to `Assistant:`, an answer from there on."""
    said = turns.as_dialogue(value)
    return said + turns.ASSISTANT if name == "prompt" else said.removeprefix(turns.ASSISTANT)


def _with_prompt(said: dict[str, Any], done: set[str]) -> dict[str, Any]:
    """The fields with a prompt, which no answer repeats."""
    if "prompt" not in said:
        texts = isinstance(said["chosen"], str)
        done.add(turns.SHARED_WORDS if texts else turns.SHARED_TURNS)
        found = (turns.shared_words if texts else turns.shared_turns)(said["chosen"], said["rejected"])
        return dict(zip(PAIRED_COLUMNS, found, strict=True))
    prompt = said["prompt"]
    for name, value in said.items():
        if name != "prompt" and isinstance(value, list) and prompt and value[: len(prompt)] == prompt:
            said = said | {name: value[len(prompt) :]}
            done.add(turns.REPEATED)
    return said


def _check_prompt(prompt: str | Messages) -> None:
    if not prompt or not _content(prompt)[-1].strip():
        raise Unusable(turns.EMPTY)
    if not isinstance(prompt, str) and prompt[-1]["role"] not in turns.ANSWERED:
        raise Unusable(turns.UNASKED)


def _check_answer(answer: str | Messages, name: str, done: set[str]) -> None:
    if isinstance(answer, str):
        if not answer.strip():
            raise Unusable(turns.BLANK)
        return
    if answer and answer[0]["role"] != "assistant":
        raise ValueError(
            f"{name} must begin with an assistant's turn, or with all turns of prompt, got {answer[0]['role']}"
        )
    if not all(turn["content"].strip() for turn in answer if turn["role"] == "assistant") or not answer:
        raise Unusable(turns.BLANK)
    if answer[-1]["role"] != "assistant":
        raise Unusable(turns.UNANSWERED)
    if len(answer) > 1:
        done.add(turns.SEVERAL)


def _content(value: str | Messages) -> list[str]:
    """What is said, turn by turn, without the space around it."""
    return [value.strip()] if isinstance(value, str) else [turn["content"].strip() for turn in value]
