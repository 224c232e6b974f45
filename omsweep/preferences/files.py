"""Local files of records: JSON with one object per line or one list of objects, and Parquet. No datasets library."""

import hashlib
import json
from pathlib import Path
from typing import Any


def existing_file(path: str, *, what: str = "preference data") -> Path:
    """The file; ValueError when there is none."""
    file = Path(path).expanduser()
    if not file.is_file():
        raise ValueError(f"{what} file {path} does not exist")
    return file


def file_hash(path: str) -> str:
    """SHA-256 of the file's bytes, hex."""
    with existing_file(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def json_records(text: str) -> list[dict[str, Any]]:
    """The objects of a JSON list, or of lines; ValueError with the line that is not JSON, or when one is no object."""
    if text.lstrip().startswith("["):
        records = json.loads(text)
    else:
        # Only \n ends a line: JSON strings may hold what str.splitlines takes for one, such as U+2028.
        records = [_line(line, number) for number, line in enumerate(text.split("\n"), start=1) if line.strip()]
    if not all(isinstance(record, dict) for record in records):
        raise ValueError("every record must be an object")
    return records


def _line(line: str, number: int) -> Any:
    try:
        return json.loads(line)
    except json.JSONDecodeError as error:
        raise ValueError(f"line {number} is not JSON ({error})") from None
