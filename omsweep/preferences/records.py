"""Preference records: which columns a data set must have, stable ids, and prompts that must not occur. Plain Python."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from typing import Any, Literal

PAIRED_COLUMNS = ("prompt", "chosen", "rejected")
UNPAIRED_COLUMNS = ("prompt", "completion", "label")


def kind_of(columns: Iterable[str]) -> Literal["paired", "unpaired"]:
    """Whether records are pairs (prompt, chosen, rejected) or single judged completions (prompt, completion, label).

    A paired data set may lack `prompt`: TRL then takes what chosen and rejected share at their beginning.

    Raises:
        ValueError: neither; the message holds the names found and the names wanted.
    """
    found = set(columns)
    if {"chosen", "rejected"} <= found:
        return "paired"
    if set(UNPAIRED_COLUMNS) <= found:
        return "unpaired"
    raise ValueError(
        f"preference data must have the columns {', '.join(PAIRED_COLUMNS)} (pairs) or {', '.join(UNPAIRED_COLUMNS)} "
        f"(unpaired), got {', '.join(sorted(found)) or 'none'}"
    )


def record_id(record: dict[str, Any]) -> str:
    """`prompt-<12 hex digits>` of the record's content, for data sets without an `id` column."""
    content = {key: record[key] for key in sorted(record) if key in PAIRED_COLUMNS + UNPAIRED_COLUMNS}
    return "prompt-" + hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]


def check_disjoint(ids: Sequence[str], reserved: Iterable[str]) -> None:
    """ValueError naming up to five ids when a preference prompt is also a test item; only ids are compared."""
    shared = sorted(set(map(str, ids)) & set(reserved))
    if shared:
        raise ValueError(
            f"preference prompts must be disjoint from the test items, got {len(shared)} in both: "
            f"{', '.join(shared[:5])}"
        )


def check_values(records: Sequence[dict[str, Any]], kind: Literal["paired", "unpaired"]) -> None:
    """ValueError for the first record that holds an empty value, or a label that is not a boolean."""
    wanted = [name for name in (PAIRED_COLUMNS if kind == "paired" else UNPAIRED_COLUMNS) if name in records[0]]
    for row, record in enumerate(records):
        for name in wanted:
            value = record[name]
            if name == "label":
                if not isinstance(value, bool):
                    raise ValueError(f"label must be true or false, got {value!r} in record {row}")
            elif not isinstance(value, str | list) or not value:
                raise ValueError(f"{name} must be text or a list of messages, got {value!r} in record {row}")
