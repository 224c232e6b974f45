"""From a YAML file and `--set` overrides to a checked `SpaceFile`; every mistake is one `SpaceFileError` line."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from omsweep.space.knobs import SpaceError
from omsweep.space.schema import SpaceFile


class SpaceFileError(ValueError):
    """A search space that cannot be used; the message names file, key path, value and what is allowed."""


class _Loader(yaml.SafeLoader):
    """Safe YAML with 1e-4 read as a number (YAML 1.2) and repeated keys refused."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)[eE][-+]?[0-9]+$"),
    list("-+0123456789."),
)


def _unique_mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    seen: set[Any] = set()
    for key_node, _ in node.value:
        key = loader.construct_object(key_node)
        if key in seen:
            raise yaml.constructor.ConstructorError(None, None, f"key {key!r} occurs twice", key_node.start_mark)
        seen.add(key)
    return loader.construct_mapping(node, deep=True)


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _unique_mapping)


def read_yaml(path: Path) -> dict[str, Any]:
    """Parse a search space file to a mapping; raises SpaceFileError."""
    try:
        text = path.read_text()
    except FileNotFoundError:
        raise SpaceFileError(f"{path}: no such file; give the path of a search space file (YAML)") from None
    except (OSError, UnicodeDecodeError) as error:
        raise SpaceFileError(f"{path}: cannot be read: {error}") from None
    content = parse_yaml(text, str(path))
    if content is None:
        raise SpaceFileError(f"{path}: the file is empty; allowed keys: {', '.join(SpaceFile.model_fields)}")
    if not isinstance(content, dict):
        raise SpaceFileError(f"{path}: must hold a mapping of keys, got {type(content).__name__} {content!r:.80}")
    return content


def parse_yaml(text: str, origin: str) -> Any:
    """Safe-load YAML text; raises SpaceFileError with line and column."""
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.constructor.ConstructorError as error:
        mark = error.problem_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}" if mark else "somewhere"
        problem = error.problem or "cannot be constructed"
        if "tag" in problem:
            problem += "; only plain YAML values are allowed (mappings, lists, strings, numbers, true, false, null)"
        raise SpaceFileError(f"{origin}: {place}: {problem}") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise SpaceFileError(f"{origin}: not valid YAML: {place}{problem}") from None


def apply_overrides(content: dict[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """A copy of `content` with every `key.path=value` set (value in YAML); raises SpaceFileError."""
    for override in overrides:
        path, separator, text = override.partition("=")
        keys = path.split(".")
        if not separator or not all(keys):
            raise SpaceFileError(f"--set {override}: must be key.path=value, for example train.steps=50")
        content = _with_value(content, keys, parse_yaml(text, f"--set {override}"), override)
    return content


def _with_value(content: Any, keys: list[str], value: Any, override: str) -> dict[str, Any]:
    if not isinstance(content, Mapping):
        raise SpaceFileError(f"--set {override}: {keys[0]!r} is set inside {content!r}, which is not a mapping")
    first, *rest = keys
    return {**content, first: _with_value(content.get(first, {}), rest, value, override) if rest else value}


def validate(content: Mapping[str, Any]) -> SpaceFile:
    """Check keys, types and ranges; raises SpaceError with the first mistake's key path, value and what is allowed."""
    try:
        return SpaceFile.model_validate(dict(content))
    except ValidationError as error:
        errors = error.errors(include_url=False)
        start = _key_path(errors[0]["loc"])
        first = max((e for e in errors if _key_path(e["loc"]).startswith(start)), key=lambda e: len(e["loc"]))
        raise SpaceError(_key_path(first["loc"]), _explain(first)) from None


def _key_path(loc: tuple[int | str, ...]) -> str:
    # pydantic appends the tried branch of a union ("str", "dict[str,any]", "constrained-float") or "[key]", which
    # are no keys of the file; of several branches the one that came furthest is meant
    return ".".join(str(part) for part in loc if not re.match(r"^(str|dict\[|\[key\]|constrained-)", str(part)))


def _explain(error: Any) -> str:
    if error["type"] == "extra_forbidden":
        return f"unknown key {error['loc'][-1]!r}; allowed: {', '.join(_fields_at(error['loc'][:-1]))}"
    if error["type"] == "missing":
        return "is missing and has no default"
    if error["type"] == "string_pattern_mismatch":
        return f"must be letters, digits, '.', '_' and '-', starting with a letter or digit, got {error['input']!r}"
    message = error["msg"].removeprefix("Input should be ").removeprefix("Value error, ")
    return f"must be {message}, got {error['input']!r}"


def _fields_at(loc: tuple[int | str, ...]) -> list[str]:
    model: type[BaseModel] = SpaceFile
    for part in loc:
        if str(part) not in model.model_fields:  # a label of the user's own
            continue
        annotation = model.model_fields[str(part)].annotation
        options = [annotation, *getattr(annotation, "__args__", ())]
        model = next(o for o in options if isinstance(o, type) and issubclass(o, BaseModel))
    return list(model.model_fields)
