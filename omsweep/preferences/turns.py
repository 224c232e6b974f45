"""What is said in a record: texts and chat messages, checked, and a prompt found where none is given. Plain Python."""

import re
from bisect import bisect_left
from collections.abc import Sequence
from typing import Any

from omsweep.preferences.settings import Messages

ROLES = ("system", "developer", "user", "assistant", "tool", "function", "ipython")
ANSWERED = frozenset({"user", "tool", "function", "ipython"})
"""Roles of a turn that an assistant answers: a prompt ends with one."""

NULL, BLANK = "a text is null", "an answer is empty or blank"
SAME = "chosen and rejected are the same"
EMPTY, UNASKED = "the prompt is empty", "the prompt does not end with a user's turn"
UNSHARED, UNANSWERED = "chosen and rejected share no prompt", "an answer does not end with an assistant's turn"
TOO_LONG = "the prompt alone fills max_length, or the model's context"
REMEDIES = {
    NULL: "write the text, or leave the record out",
    BLANK: "write an answer, or leave the record out",
    SAME: "identical answers say nothing of what is preferred",
    EMPTY: "write what is asked into prompt",
    UNASKED: 'let the last message of prompt be {"role": "user", ...}',
    UNSHARED: "add a prompt, or begin both answers with the same turns, the last of them a user's",
    UNANSWERED: 'let the last message be {"role": "assistant", ...}',
    TOO_LONG: "raise train.max_length as far as the context goes, or shorten the prompts",
}
"""By reason for which a record is dropped: what its owner can do."""

JOINED = "text parts of a message were joined by line breaks"
SHARED_TURNS = "no prompt given: it is the turns that chosen and rejected share at their beginning, up to a user's last"
SHARED_WORDS = "no prompt given: it is the whole words that chosen and rejected share at their beginning"
DIALOGUE = "text with Human: and Assistant: was taken apart into turns, without the space around them"
REPEATED = "the prompt was cut off an answer that began with it"
BESIDE = "prompt is text beside whole conversations, whose turns count"
CONTRARY = "the text of prompt beside whole conversations is none of their turns, which count"
SEVERAL = "an answer has several turns, which are all trained"

ASSISTANT = "\n\nAssistant:"
_SPEAKER = re.compile(r"\n\n(Human|Assistant):")
_TEMPLATED = (
    *("<|im_start|>", "<|start_header_id|>", "<|begin_of_text|>", "<|user|>", "<|system|>", "<start_of_turn>", "<bos>"),
    *("[INST]", "<s>[INST]", "<s> [INST]", "### Human:"),
)


class Unusable(Exception):
    """No mistake: a record that teaches nothing, which is dropped and counted; the text is a key of `REMEDIES`."""


def text(value: str, name: str, *, rendering: str) -> str:
    """The text itself; ValueError where it is a chat already, written as JSON or by a template."""
    check_encodable(value, name)
    start = value[:80].lstrip()
    if re.match(r"""\[\s*\{\s*["'](role|from|content|value)["']""", start):
        raise ValueError(f"{name} is a list of messages written as text: give the list itself")
    mark = next((mark for mark in _TEMPLATED if start.startswith(mark)), None)
    if mark and rendering == "chat":
        raise ValueError(
            f"{name} is written in a chat template already ({mark!r}) and would get a second one: give messages, or say"
            " rendering: plain in preferences"
        )
    return value


def messages(value: Sequence[Any], name: str, done: set[str]) -> Messages:
    """Messages with `role` and `content` alone; what was done to them is added to `done`.

    Raises:
        ValueError: a message, role or content of another kind.
        Unusable: a content is null.
    """
    return [_message(turn, f"{name}[{place}]", done) for place, turn in enumerate(value)]


def _message(turn: Any, where: str, done: set[str]) -> dict[str, str]:
    if not isinstance(turn, dict):
        raise ValueError(f'{where} must be a message {{"role": ..., "content": ...}}, got {turn!r:.60}')
    given = {str(key) for key, value in turn.items() if value not in (None, [], {})}
    if given & {"from", "value"}:
        raise ValueError(
            f"{where} has the keys {', '.join(sorted(given))} (ShareGPT): messages have role and content; write human"
            " as user and gpt as assistant"
        )
    if given & {"tool_calls", "function_call"}:
        raise ValueError(f"{where} has tool calls, which are not rendered: write the call as text into content")
    role = turn.get("role")
    if role not in ROLES:
        raise ValueError(f"{where} must have a role among {', '.join(ROLES)}, got {role!r:.40}")
    if other := given - {"role", "content"}:
        done.add(f"other keys of a message than role and content were not read: {', '.join(sorted(other))}")
    return {"role": role, "content": _content(turn.get("content"), f"the content of {where}", done)}


def _content(content: Any, where: str, done: set[str]) -> str:
    if content is None:
        raise Unusable(NULL)
    if isinstance(content, list) and content:
        content = "\n".join(_part(part, where) for part in content)
        done.add(JOINED)
    if not isinstance(content, str):
        raise ValueError(f"{where} must be text, got {content!r:.60}")
    check_encodable(content, where)
    return content


def _part(part: Any, where: str) -> str:
    if isinstance(part, str):
        return part
    if isinstance(part, dict) and part.get("type", "text") == "text" and isinstance(part.get("text"), str):
        return str(part["text"])
    kind = part.get("type") if isinstance(part, dict) else part
    raise ValueError(f"{where} has a part that is no text ({kind!r:.40}): only text is trained")


def check_encodable(value: str, where: str) -> None:
    """ValueError for text that no file and no tokenizer takes."""
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{where} holds half of a surrogate pair, which is no character") from None


def is_dialogue(value: str) -> bool:
    """Whether a text begins as those of Anthropic's HH data: `Human:`, on a line of its own after it `Assistant:`."""
    return value.lstrip().startswith("Human:") and ASSISTANT in value


def are_dialogues(values: Sequence[str]) -> bool:
    """Whether all texts that say something are dialogues, and some does."""
    return all(is_dialogue(value) for value in values if value.strip()) and any(value.strip() for value in values)


def dialogue(value: str) -> Messages:
    """The turns of a text that `is_dialogue`, with the space around them."""
    pieces = _SPEAKER.split("\n\n" + value.lstrip())
    roles = {"Human": "user", "Assistant": "assistant"}
    return [{"role": roles[who], "content": said} for who, said in zip(pieces[1::2], pieces[2::2], strict=True)]


def as_dialogue(turns: Messages) -> str:
    """The text of which `dialogue` makes these turns."""
    names = {"user": "Human", "assistant": "Assistant"}
    return "".join(f"\n\n{names[turn['role']]}:{turn['content']}" for turn in turns)


def shared_turns(chosen: Messages, rejected: Messages) -> tuple[Messages, Messages, Messages]:
    """Two conversations as (prompt, chosen, rejected): the prompt is what they share, up to the last turn of a user.

    Raises:
        Unusable: what they share has no user's turn, or what comes after it is said by somebody else than an assistant.
    """
    shared = next(
        (n for n, (a, b) in enumerate(zip(chosen, rejected, strict=False)) if a != b), min(len(chosen), len(rejected))
    )
    if any(turn["role"] != "assistant" for whole in (chosen, rejected) for turn in whole[shared : shared + 1]):
        raise Unusable(UNSHARED)
    asked = max((n + 1 for n in range(shared) if chosen[n]["role"] in ANSWERED), default=0)
    if not asked:
        raise Unusable(UNSHARED)
    return chosen[:asked], chosen[asked:], rejected[asked:]


def shared_words(chosen: str, rejected: str) -> tuple[str, str, str]:
    """Two texts as (prompt, chosen, rejected): the prompt is the whole words that both begin with.

    Raises:
        Unusable: they begin with different words.
    """
    if chosen.strip() == rejected.strip():
        raise Unusable(SAME)
    end = bisect_left(range(1, min(len(chosen), len(rejected)) + 1), 1, key=lambda n: chosen[:n] != rejected[:n])
    if any(end < len(whole) and not whole[end].isspace() for whole in (chosen, rejected)):
        end = max((match.start() for match in re.finditer(r"\s+", chosen[:end])), default=0)
    prompt = chosen[:end].rstrip()
    if not prompt.strip():
        raise Unusable(UNSHARED)
    return prompt, chosen[len(prompt) :], rejected[len(prompt) :]
