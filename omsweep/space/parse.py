"""From a YAML file and `--set` overrides to a checked `SpaceFile`; every mistake is one `SpaceFileError` line."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from omsweep.redaction import refuse_secrets
from omsweep.secrets import ALLOWED
from omsweep.space.knobs import SpaceError
from omsweep.space.schema import SpaceFile
from omsweep.space.yaml_text import LARGEST_FILE, SpaceFileError, parse_yaml

HOLDS_ANCHORS = "x-"
"""How keys of the file begin that only hold what `<<` and aliases take over."""
_BARE, _BRACKET = r"[^.\[\]=]+", r"""\[["']?[^\]"']+["']?\]"""
_OVERRIDE = re.compile(rf"({_BARE}(?:\.{_BARE}|{_BRACKET})*)=(.*)", re.DOTALL)
_KEY = re.compile(f"{_BRACKET}|{_BARE}")


def read_yaml(path: Path) -> dict[str, Any]:
    """Parse a search space file to a mapping; raises SpaceFileError."""
    try:
        with path.open("rb") as file:
            raw = file.read(LARGEST_FILE + 1)
        text = raw.decode("utf-8")
    except FileNotFoundError:
        raise SpaceFileError(f"{path}: no such file; give the path of a search space file (YAML)") from None
    except UnicodeDecodeError as error:
        raise SpaceFileError(f"{path}: is not text in UTF-8: {error}") from None
    except OSError as error:
        raise SpaceFileError(f"{path}: cannot be read: {error.strerror or error}") from None
    if len(raw) > LARGEST_FILE:
        raise SpaceFileError(f"{path}: is larger than {LARGEST_FILE // 1024} KiB; data lie in files of their own")
    content = parse_yaml(text, str(path))
    if content is None:
        raise SpaceFileError(f"{path}: the file is empty; allowed keys: {', '.join(SpaceFile.model_fields)}")
    if not isinstance(content, dict):
        raise SpaceFileError(f"{path}: must hold a mapping of keys, got {type(content).__name__} {content!r:.80}")
    try:
        refuse_secrets("", content)
    except ValueError as error:
        raise SpaceFileError(f"{path}: {error}") from None
    return {key: value for key, value in content.items() if not key.startswith(HOLDS_ANCHORS)}


def apply_overrides(content: dict[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """A copy of `content` with every `key.path=value` set (value in YAML); raises SpaceFileError.

    An entry of a list goes by its number, from 0: `families[0].base=DIR`. A name with dots stands in brackets:
    `space.method["a.b"].alpha=0.1`.
    """
    for override in overrides:
        found = _OVERRIDE.fullmatch(override)
        if found is None:
            raise SpaceFileError(
                f"--set {override:.200}: must be key.path=value, for example train.steps=50, families[0].base=DIR or"
                ' space.method["a.b"].alpha=0.1'
            )
        keys = [key.strip("[]\"'") for key in _KEY.findall(found[1])]
        value = parse_yaml(found[2], f"--set {override:.200}", path=".".join(keys))
        content = _with_value(content, keys, value, override)
    return content


def _with_value(content: Any, keys: list[str], value: Any, override: str) -> Any:
    if not keys:
        return value
    first, *rest = keys
    if isinstance(content, list):
        if not first.isdecimal() or int(first) >= len(content):
            allowed = f"give a number from 0 to {len(content) - 1}" if content else "give the whole list"
            raise SpaceFileError(f"--set {override:.200}: {first!r} is set inside a list of {len(content)}: {allowed}")
        number = int(first)
        return [*content[:number], _with_value(content[number], rest, value, override), *content[number + 1 :]]
    if content is not None and not isinstance(content, Mapping):
        raise SpaceFileError(f"--set {override:.200}: {first!r} is set inside {content!r:.80}, which is not a mapping")
    return {**(content or {}), first: _with_value((content or {}).get(first), rest, value, override)}


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
    if error["loc"][0] == "secrets":
        if error["loc"][-1] == "[key]":
            return f"must be the name of an environment variable in capitals, got {error['input']!r}"
        return f"must be {ALLOWED}: it says where the secret is, and what was given is not repeated"
    if error["type"] == "extra_forbidden":
        own = ", x-... (for what << takes over)" if len(error["loc"]) == 1 else ""
        return f"unknown key {error['loc'][-1]!r:.80}; allowed: {', '.join(_fields_at(error['loc'][:-1]))}{own}"
    if error["type"] == "missing":
        return "is missing and has no default"
    if error["type"] == "string_pattern_mismatch":
        return f"must be letters, digits, '.', '_' and '-', starting with a letter or digit, got {error['input']!r}"
    message = error["msg"].removeprefix("Input should be ").removeprefix("Value error, ")
    quote = ""
    if error["type"] in ("string_type", "literal_error") and isinstance(error["input"], bool | int | float):
        quote = f": YAML reads it as a {'boolean' if isinstance(error['input'], bool) else 'number'}, quote it"
    return f"must be {message}, got {error['input']!r}{quote}"


def _fields_at(loc: tuple[int | str, ...]) -> list[str]:
    model: type[BaseModel] = SpaceFile
    for part in loc:
        if str(part) not in model.model_fields:  # a label of the user's own
            continue
        annotation = model.model_fields[str(part)].annotation
        options = [annotation, *getattr(annotation, "__args__", ())]
        model = next(o for o in options if isinstance(o, type) and issubclass(o, BaseModel))
    return list(model.model_fields)
