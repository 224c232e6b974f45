"""Calls of functions in an answer, in Hermes' format: a JSON object between `<tool_call>` tags."""

import ast
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

_CALL = re.compile(r"<tool_call>(.*?)(?:</tool_call>|\Z)", re.DOTALL)


def calls(text: str) -> list[dict[str, Any]]:
    """The calls of an answer that can be read, in order; one that is not closed ends with the text.

    What is no JSON is tried as a Python literal, as Nous' evaluator does. Arguments may be JSON in a text.
    """
    return [call for found in _CALL.findall(text) if (call := _call(found)) is not None]


def _call(text: str) -> dict[str, Any] | None:
    try:
        read = json.loads(text)
    except ValueError:
        try:
            read = ast.literal_eval(text.strip())
        except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
            return None
    if not isinstance(read, dict) or not isinstance(read.get("name"), str):
        return None
    arguments = read.get("arguments", {})
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments)
        except ValueError:
            return None
    return {"name": read["name"], "arguments": arguments} if isinstance(arguments, dict) else None


def expected(doc: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The calls that an item asks for: `completion` is JSON of one or of a list, or an answer with tags.

    Raises:
        ValueError: neither.
    """
    text = doc["completion"]
    try:
        read = None if "<tool_call>" in text else json.loads(text)
    except ValueError:
        read = []
    wanted = (
        calls(text)
        if read is None
        else [_call(json.dumps(one)) for one in (read if isinstance(read, list) else [read])]
    )
    if not wanted or None in wanted:
        raise ValueError(
            f"completion must be JSON of a call with name and arguments, or of a list of them, got {text!r:.200}"
        )
    return [call for call in wanted if call is not None]


def function_calls(doc: Mapping[str, Any], results: Sequence[str]) -> dict[str, float]:
    """1 where each expected call is the first of its name in the answer and has the expected values.

    That is the rule of Nous' evaluator: more calls and arguments are not counted against an answer. Of several
    expected calls with one name each takes the next.
    """
    said = calls(results[0])
    return {"acc": float(all(_taken(call, said) for call in expected(doc)))}


def _taken(wanted: Mapping[str, Any], said: list[dict[str, Any]]) -> bool:
    """Whether the first call of that name has the values; it is taken from the list."""
    named = next((call for call in said if call["name"] == wanted["name"]), None)
    if named is None:
        return False
    said.remove(named)
    there = named["arguments"]
    return all(name in there and there[name] == value for name, value in wanted["arguments"].items())


def question(doc: Mapping[str, Any]) -> str:
    """The last turn of the user; ValueError where there is none."""
    turns = [turn["content"] for turn in doc["prompt"] if turn["role"] == "user"]
    if not turns:
        raise ValueError("prompt must have a turn of the user")
    return str(turns[-1])


def target(doc: Mapping[str, Any]) -> str:
    """The expected calls as JSON, so that an item without them is refused when the suite is loaded."""
    return json.dumps(expected(doc), ensure_ascii=False)
