"""YAML text as plain data: bounded, no code, and nothing taken for another thing than it looks like."""

import math
import re
from typing import Any

import yaml

LARGEST_FILE = 1 << 18
"""Bytes of a search space file; data lie in files of their own."""
MOST_VALUES, DEEPEST = 20_000, 40
"""Values of a file once its aliases are replaced by what they stand for, and levels of nesting."""
LONGEST_MESSAGE = 2000
LARGEST_NUMBER = 2**53
"""Whole numbers up to here are the same as floats."""

_PLACEHOLDER = re.compile(r"(?:\$\{|\{\{|\{%|<%).{0,40}")
_UNRENDERED = "; it looks like a placeholder of a template: render the file first"
_JINJA_KEYS = ("chat_template",)
"""Keys whose value is a template."""
_TAGS = ("null", "bool", "int", "float", "str", "seq", "map", "merge")
_OTHER_BASE = re.compile(r"[-+]?[0-9_]+(:[0-9_.]+)*")
_DECIMAL = re.compile(r"[-+]?(0|[1-9][0-9_]*|0x[0-9a-fA-F_]+|0b[01_]+)")


class SpaceFileError(ValueError):
    """A search space that cannot be used; the message names file, key path, value and what is allowed, in one line."""

    def __init__(self, said: str) -> None:
        if len(said) > LONGEST_MESSAGE:
            said = f"{said[: LONGEST_MESSAGE // 2]} [...] {said[-LONGEST_MESSAGE // 2 :]}"
        super().__init__(said.replace("\n", "\\n"))


class _Refused(Exception):
    """What is wrong with a node, as `problem`."""

    def __init__(self, problem: str, mark: yaml.Mark, path: str = "") -> None:
        super().__init__(problem)
        self.problem, self.mark, self.path = problem, mark, path


class _Loader(yaml.SafeLoader):
    """Safe YAML with 1e-4 read as a number (YAML 1.2), bounded while it is composed."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = self._values = 0
        self._size: dict[int, int] = {}
        """Values in a node that is whole, aliases opened, by its id."""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        mark = self.peek_event().start_mark
        alias = self.check_event(yaml.AliasEvent)
        before, self._depth = self._values, self._depth + 1
        self._values += 1
        if self._depth > DEEPEST:
            raise _Refused(f"is nested deeper than {DEEPEST} levels", mark)
        node = super().compose_node(parent, index)
        if alias:
            if id(node) not in self._size:
                raise _Refused("an alias stands inside of what it stands for", mark)
            self._values += self._size[id(node)]
        if self._values > MOST_VALUES:
            raise _Refused(f"holds more than {MOST_VALUES} values, aliases replaced by what they stand for", mark)
        self._size.setdefault(id(node), self._values - before)
        self._depth -= 1
        return node


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)[eE][-+]?[0-9]+$"),
    list("-+0123456789."),
)


def parse_yaml(text: str, origin: str, *, path: str = "") -> Any:
    """Plain data from YAML text.

    Args:
        text: one document of mappings with text keys, lists, strings, finite or infinite numbers, booleans and nulls.
        origin: names the text in messages.
        path: of the key whose value the text is.

    Raises:
        SpaceFileError: one sentence with line, column and, where it is known, key: invalid YAML, more than the limits
            of this file, a key or value that YAML reads as something else than it looks like, a key given twice, or a
            placeholder of a template that nobody rendered.
    """
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            return None
        _check(loader, node, path, set())
        return loader.construct_document(node)
    except _Refused as refused:
        place = f"{_place(refused.mark)}: {refused.path}{': ' if refused.path else ''}"
        raise SpaceFileError(f"{origin}: {place}{refused.problem}") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        place = f"{_place(mark)}: " if mark else ""
        raise SpaceFileError(f"{origin}: not valid YAML: {place}{problem}{_hint(text, mark, problem)}") from None


def _check(loader: _Loader, node: yaml.Node, path: str, seen: set[int]) -> None:
    """Refuse what plain data cannot hold, or what is read as something else than it looks like."""
    if id(node) in seen:
        return
    seen.add(id(node))
    if node.tag.removeprefix("tag:yaml.org,2002:") not in _TAGS:
        _check_tag(node, path)
    if isinstance(node, yaml.MappingNode):
        _check_mapping(loader, node, path, seen)
    elif isinstance(node, yaml.SequenceNode):
        for number, entry in enumerate(node.value):
            _check(loader, entry, f"{path}.{number}" if path else str(number), seen)
    elif isinstance(node, yaml.ScalarNode):
        _check_scalar(loader, node, path)


def _check_mapping(loader: _Loader, node: yaml.MappingNode, path: str, seen: set[int]) -> None:
    keys: set[str] = set()
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode):
            doubled = key.start_mark.index == node.start_mark.index + 1  # {{
            problem = f"a key must be text, got a {key.id}{_UNRENDERED if doubled else ''}"
            raise _Refused(problem, key.start_mark, path)
        if key.tag not in ("tag:yaml.org,2002:str", "tag:yaml.org,2002:merge"):
            raise _Refused(f"the key {key.value!r} is {_read_as(key)}: quote it ({key.value!r})", key.start_mark, path)
        if key.value in keys:
            raise _Refused(f"key {key.value!r} occurs twice", key.start_mark, path)
        keys.add(key.value)
        merges = key.tag == "tag:yaml.org,2002:merge"
        inner = path if merges else f"{path}.{key.value}" if path else key.value
        if merges and not all(isinstance(one, yaml.MappingNode) for one in _merged(value)):
            raise _Refused("<< takes over a mapping or a list of mappings", value.start_mark, path)
        _check(loader, value, inner, seen)


def _merged(value: yaml.Node) -> list[yaml.Node]:
    return value.value if isinstance(value, yaml.SequenceNode) else [value]


def _check_scalar(loader: _Loader, node: yaml.ScalarNode, path: str) -> None:
    kind, text, mark = node.tag.rpartition(":")[2], node.value, node.start_mark
    if kind == "str":
        found = _PLACEHOLDER.search(text) if path.rpartition(".")[2] not in _JINJA_KEYS else None
        if found:
            raise _Refused(f"holds {found.group()!r}{_UNRENDERED}", mark, path)
        return
    if (kind == "int" and not _DECIMAL.fullmatch(text) and _OTHER_BASE.fullmatch(text)) or ":" in text:
        base = 60 if ":" in text else 8
        raise _Refused(f"{text:.40} is read in base {base}: write the number in base 10, or quote it", mark, path)
    if kind == "int" and len(text) > 40:
        raise _Refused(f"{text:.40}... is too large: whole numbers go up to 2**53", mark, path)
    try:
        value = loader.construct_object(node)
    except (ValueError, KeyError, TypeError, OverflowError, yaml.YAMLError):
        raise _Refused(f"{text!r:.80} is no {kind}", mark, path) from None
    if kind == "int" and abs(value) > LARGEST_NUMBER:
        raise _Refused(f"{text:.40} is too large: whole numbers go up to 2**53", mark, path)
    if kind == "float" and (math.isnan(value) or (math.isinf(value) and "inf" not in text.lower())):
        problem = "is no number" if math.isnan(value) else "is larger than any number: .inf is infinity"
        raise _Refused(f"{text:.40} {problem}", mark, path)


def _check_tag(node: yaml.Node, path: str) -> None:
    if node.tag == "tag:yaml.org,2002:timestamp":
        raise _Refused(f"{node.value} is {_read_as(node)}: quote it ({node.value!r})", node.start_mark, path)
    raise _Refused(
        f"tag {node.tag!r:.80}: only plain YAML values are allowed (mappings, lists, strings, numbers, true, false,"
        " null)",
        node.start_mark,
        path,
    )


def _read_as(node: yaml.Node) -> str:
    kind = node.tag.rpartition(":")[2]
    names = {"bool": "a boolean", "int": "a number", "float": "a number", "null": "null", "timestamp": "a date"}
    return f"read as {names.get(kind, f'a {kind:.40}')}"


def _place(mark: yaml.Mark) -> str:
    return f"line {mark.line + 1}, column {mark.column + 1}"


def _hint(text: str, mark: yaml.Mark | None, problem: str) -> str:
    line = text.splitlines()[mark.line] if mark is not None and mark.line < len(text.splitlines()) else ""
    if _PLACEHOLDER.search(line):
        return _UNRENDERED
    return "; indent with spaces, YAML takes no tabs" if r"\t" in problem else ""
