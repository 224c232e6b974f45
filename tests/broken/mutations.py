"""Seeded mutations of plain data and of text: what people, editors and templates do to files."""

import copy
import json
from random import Random
from typing import Any

ODD_VALUES: list[Any] = [
    *(None, True, False, 0, -1, 1, 2**31, 2**53, 2**70, 10**400, 0.5, -0.5, 1e-300, 1e308, float("inf"), float("nan")),
    *("", " ", "x", "on", "null", "1e3", "010", "{{ x }}", "${X}", "a/b", "../x", "/", "~", "*", "<<", "x-a", "a.b"),
    *("x" * 5000, "数学", "é", "e\u0301", "👍", "[0]", "%20", "?v=2", "#", "\n", "\t", "'", '"', "\x00", "\u202e"),
    *([], {}, [[]], [None], {"": None}, [{}], {"a": {"b": {"c": []}}}, list(range(3000))),
    *({"choice": []}, {"choice": [1, 1]}, {"uniform": [1, 0]}, {"randint": [0, 2**80]}, {"loguniform": ["a", "b"]}),
    {"choice": list(range(500))},
]
"""What a value may be replaced by."""
ODD_TEXT = [
    *(
        "\t",
        "\x00",
        "{{ x }}",
        "${X}",
        "{% if x %}",
        "- ",
        ": ",
        "\n",
        "\ufeff",
        "&a ",
        "*a",
        "<<: *a",
        "!!int ",
        "---\n",
    ),
    *("'", '"', "#", "[", "]", "{", "}", "é", "\u2028", "\\", "%", "@", "`", "|", ">", "a: &a [*a]\n", "[" * 3000),
]
"""What may stand where it does not belong."""


def mutated(value: Any, random: Random) -> Any:
    """Plain data with one place of it replaced, left out, doubled, renamed or wrapped."""
    value = copy.deepcopy(value)
    places = list(_places(value))
    if not places:
        return random.choice(ODD_VALUES)
    parent, key = random.choice(places)
    what = random.choice(["replace", "replace", "replace", "leave out", "wrap", "rename", "as text", "swap"])
    if what == "leave out":
        del parent[key]
    elif what == "wrap":
        parent[key] = random.choice([[parent[key]], {"x": parent[key]}, [parent[key]] * 2])
    elif what == "rename" and isinstance(parent, dict):
        parent[random.choice([f"{key}x", str(key).upper(), "", "a.b", "数学", "<<"])] = parent.pop(key)
    elif what == "as text":
        parent[key] = str(parent[key])
    elif what == "swap":
        other, another = random.choice(places)
        parent[key] = copy.deepcopy(other[another])
    else:
        parent[key] = copy.deepcopy(random.choice(ODD_VALUES))
    return value


def torn(text: str, random: Random) -> str:
    """Text that was cut, doubled in part, or has something odd in it."""
    start = random.randrange(len(text) + 1)
    end = min(len(text), start + random.randrange(40))
    piece = random.choice(ODD_TEXT)
    ways = [text[:start], text[:start] + text[end:], text[:start] + text[start:end] * 2 + text[end:]]
    ways += [text[:start] + piece + text[start:], text[:start] + piece + text[end:]]
    ways += [text.replace("  ", "\t", 1), text.replace("\n", "\r\n")]
    return random.choice(ways)


def as_json(value: Any) -> str:
    """One line of JSON, NaN and infinity as Python writes them."""
    return json.dumps(value, ensure_ascii=False, default=str)


def _places(value: Any) -> Any:
    """(mapping or list, key or index) of everything inside."""
    inside: list[Any] = list(enumerate(value)) if isinstance(value, list) else []
    if isinstance(value, dict):
        inside = list(value.items())
    for key, entry in inside:
        yield value, key
        yield from _places(entry)
