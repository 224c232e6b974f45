"""YAML is bounded, and what it reads as something else than it looks like is refused with line, key and remedy."""

import time
from itertools import pairwise

import pytest

from omsweep.space.yaml_text import SpaceFileError, parse_yaml

LEVELS = "abcdefghi"
BOMB = "\n".join(
    ["a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    + [f"{new}: &{new} [{', '.join([f'*{old}'] * 10)}]" for old, new in pairwise(LEVELS)]
)
REFUSED = {
    "alias bomb": (BOMB, "line 5, column 8: holds more than 20000 values, aliases replaced"),
    "alias of itself": ("a: &a [1, *a]", "line 1, column 11: an alias stands inside of what it stands for"),
    "deep list": ("[" * 5000, "is nested deeper than 40 levels"),
    "deep mapping": ("".join(" " * level + "a:\n" for level in range(500)), "is nested deeper than 40 levels"),
    "long list": (f"a: [{'1, ' * 60_000}]", "holds more than 20000 values"),
    "twice": ("a: 1\na: 2", "line 2, column 1: key 'a' occurs twice"),
    "merge twice": ("a: &a {x: 1}\nb: {<<: *a, <<: *a}", "line 2, column 13: b: key '<<' occurs twice"),
    "merge of a number": ("a: {<<: 3}", "line 1, column 9: a: << takes over a mapping or a list of mappings"),
    "placeholder": ("a: {b: {{ b }}}", "line 1, column 9: a.b: a key must be text, got a mapping; it looks like a pl"),
    "placeholder in text": ("a:\n- ${B}/c", "line 2, column 3: a.0: holds '${B}/c'; it looks like a placeholder"),
    "placeholder in a list": ("a: [${B}]", "line 1, column 6: expected ',' or ']', but got '{'; it looks like a plac"),
    "block of a template": ("{% if a %}\na: 1", "not valid YAML: line 1, column 2: found character '%' that cannot"),
    "tab": ("a:\n\tb: 1", "line 2, column 1: found character '\\t' that cannot start any token; indent with spaces"),
    "on": ("a:\n  on: 1", "line 2, column 3: a: the key 'on' is read as a boolean: quote it ('on')"),
    "number": ("1e3: 1", "line 1, column 1: the key '1e3' is read as a number: quote it"),
    "null": ("{null: 1}", "line 1, column 2: the key 'null' is read as null: quote it"),
    "date": ("a: 2024-01-31", "line 1, column 4: a: 2024-01-31 is read as a date: quote it"),
    "no date": ("a: 2001-99-99", "is read as a date"),
    "octal": ("a: [0777]", "line 1, column 5: a.0: 0777 is read in base 8: write the number in base 10, or quote it"),
    "sexagesimal": ("a: 1:30", "line 1, column 4: a: 1:30 is read in base 60"),
    "long number": (
        f"a: {'9' * 5000}",
        "line 1, column 4: a: 9999999999999999999999999999999999999999... is too large",
    ),
    "large number": ("a: 9007199254740993", "is too large: whole numbers go up to 2**53"),
    "overflow": ("a: 1e999", "line 1, column 4: a: 1e999 is larger than any number: .inf is infinity"),
    "nan": ("a: .nan", "line 1, column 4: a: .nan is no number"),
    "no int": ("a: !!int abc", "line 1, column 4: a: 'abc' is no int"),
    "no bool": ("a: !!bool maybe", "line 1, column 4: a: 'maybe' is no bool"),
    "set": ("a: !!set {b}", "only plain YAML values are allowed"),
    "control character": ("a: \x00", "unacceptable character #x0000"),
    "two documents": ("a: 1\n---\nb: 2", "line 2, column 1: but found another document"),
}


@pytest.mark.parametrize(("text", "expected"), REFUSED.values(), ids=REFUSED)
def test_what_is_not_what_it_looks_like_is_refused_at_once_in_one_line(text: str, expected: str) -> None:
    started = time.monotonic()
    with pytest.raises(SpaceFileError, match=r"^f: ") as caught:
        parse_yaml(text, "f")
    assert expected in str(caught.value)
    assert len(str(caught.value)) < 300
    assert "\n" not in str(caught.value)
    assert time.monotonic() - started < 5  # a second on a free machine; without bounds minutes


def test_merge_keys_take_over_what_is_not_said() -> None:
    text = "x-of-all: &all {a: 1, b: 2}\none: {<<: *all, b: 3}\ntwo: {<<: [*all, {b: 4, c: 5}]}"
    assert parse_yaml(text, "f") == {
        "x-of-all": {"a": 1, "b": 2},
        "one": {"a": 1, "b": 3},
        "two": {"a": 1, "b": 2, "c": 5},
    }


def test_what_is_plain_is_read_as_it_looks() -> None:
    text = "{a: 1e-5, b: 0x1F, c: 1_000, d: .inf, e: '010', f: \"on\", g: no, h: ~, i: -3, j: 数学}"
    values = [1e-5, 31, 1000, float("inf"), "010", "on", False, None, -3, "数学"]
    assert parse_yaml(text, "f") == dict(zip("abcdefghij", values, strict=True))
    assert parse_yaml("families: [{chat_template: '{{ messages }}'}]", "f")
