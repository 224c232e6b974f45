"""Plain data, and JSON without NaN or infinity, written so that a reader sees the old file or the new, never a part."""

import json
import math
import os
import uuid
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any


def plain(value: Any) -> Any:
    """`value` as data strict JSON accepts.

    Mappings become dicts with string keys, sequences lists, numpy and torch values numbers or lists, paths
    and times strings, numbers that are not finite None.

    Raises:
        ValueError: anything else, named by type and value.
    """
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, str | bool | int) or value is None:
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, set | frozenset):
        return sorted(plain(entry) for entry in value)
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    if isinstance(value, Path | datetime):
        return str(value)
    if callable(getattr(value, "tolist", None)):
        return plain(value.tolist())
    raise ValueError(f"{type(value).__name__} cannot be stored as JSON: {value!r}")


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings as `key.path -> value`; lists and empty mappings stay one value."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def read_json(source: Path) -> Any:
    """The content of a JSON file; ValueError naming the file when it is broken."""
    try:
        return json.loads(source.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{source} is broken: {error}") from None


def write_json(target: Path, content: Any) -> None:
    """Replace `target` by indented JSON in one step, on the disk when this returns; OSError when refused."""
    partial = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
    try:
        with partial.open("x", encoding="utf-8") as file:
            json.dump(content, file, indent=2, allow_nan=False, ensure_ascii=False)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
        partial.replace(target)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
