"""Files of a generated suite: as text by path, and on the disk."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any


def json_lines(records: Iterable[Mapping[str, Any]]) -> str:
    """One ASCII line of JSON for each record."""
    return "".join(json.dumps(record, ensure_ascii=True) + "\n" for record in records)


def write_files(folder: Path, files: Mapping[str, str]) -> None:
    """Write every file, path inside the folder -> text, under `folder`."""
    for path, text in files.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(text.encode("utf-8"))
