"""Local files of records: JSON with one object per line or one list of objects, and Parquet. No datasets library."""

import gzip
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SUFFIXES = (".jsonl", ".json", ".parquet", ".jsonl.gz", ".json.gz")


def existing_file(path: str, *, what: str = "preference data") -> Path:
    """The file; ValueError when there is none."""
    file = Path(path).expanduser()
    if not file.is_file():
        raise ValueError(f"{what} file {path} does not exist")
    return file


def read_rows(path: str, *, what: str = "preference data") -> list[dict[str, Any]]:
    """All records of a file whose name ends with one of `SUFFIXES`, in its order.

    Raises:
        ValueError: the file is missing or cannot be parsed; the message holds the line where there is one.
    """
    file = existing_file(path, what=what)
    try:
        if file.suffix == ".parquet":
            return _parquet_rows(file)
        content = file.read_bytes()
        return json_records((gzip.decompress(content) if file.suffix == ".gz" else content).decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise ValueError(f"cannot read {what} {path}: it is not UTF-8 text ({error})") from None
    except (ValueError, OSError, EOFError, zlib.error) as error:
        raise ValueError(
            f"cannot read {what} {path}: {(str(error) or type(error).__name__).splitlines()[0]}"
        ) from error


def json_records(text: str) -> list[dict[str, Any]]:
    """The objects of a JSON list, or of lines; ValueError with the line that is not JSON, or when one is no object."""
    whole = text.lstrip().startswith("[")
    records = _value(text) if whole else [record for _, record in json_lines(text)]
    for number, record in enumerate(records):
        if not isinstance(record, dict):
            raise ValueError(f"every record must be an object, got {record!r:.80} as record {number}")
    return records


def json_lines(text: str) -> Iterator[tuple[int, Any]]:
    """Number, from 1, and value of every line that is not blank; ValueError for one that is not JSON."""
    # Only \n ends a line: JSON strings may hold what str.splitlines takes for one, such as U+2028.
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            try:
                yield number, _value(line)
            except ValueError as error:
                raise ValueError(f"line {number} is not JSON ({error})") from None


def _value(text: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_without_twins)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the key {next(name for name in names if names.count(name) > 1)!r} is given twice")
    return found


def _parquet_rows(file: Path) -> list[dict[str, Any]]:
    import pyarrow  # here, because --help and JSON need it not
    from pyarrow import parquet

    try:
        rows: list[dict[str, Any]] = parquet.read_table(file).to_pylist()
    except (pyarrow.ArrowException, OverflowError) as error:
        raise ValueError(str(error)) from error
    return rows
