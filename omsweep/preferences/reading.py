"""The one reader of preference records: every row is taken, dropped for a stated reason, or refused. Plain Python."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from omsweep.preferences.records import PAIRED_COLUMNS, UNPAIRED_COLUMNS, Shape, read_record, record_id, shape_of
from omsweep.preferences.summary import Summary
from omsweep.preferences.turns import REMEDIES, Unusable

RATINGS = (
    ("score_chosen", "score_rejected"),
    ("chosen_score", "rejected_score"),
    ("chosen-rating", "rejected-rating"),
    ("chosen_rating", "rejected_rating"),
    ("rating_chosen", "rating_rejected"),
)
"""Columns in which data sets rate the two answers."""
REPEATED_RECORDS = "records say the same as an earlier one"
REVERSED_RECORDS = "pairs are another's with chosen and rejected exchanged"
BOTH_LABELS = "completions are labelled true here and false elsewhere"
RATED_LESS, RATED_ALIKE = "chosen answers are rated below the rejected", "chosen and rejected are rated alike"
NUMBERS = 2**63


@dataclass(frozen=True)
class Taken:
    """The records that are taken, and what became of all.

    Each record has `id`, `record` (its number in the data, from 0), the fields of its kind (`omsweep.preferences.
    records`), and every other column whose values are numbers, a missing one None.
    """

    records: tuple[dict[str, Any], ...]
    summary: Summary


def read_records(
    rows: Iterable[Mapping[str, Any]], *, source: str, rendering: str = "chat", answers: bool = False
) -> Taken:
    """Read all rows of a data set; which are taken does not depend on their order.

    Args:
        rows: as a file or data set has them.
        source: what messages and the summary call the data.
        rendering: as in `omsweep.preferences.settings.PreferenceData`.
        answers: SFT data, see `omsweep.preferences.records.kind_of`.

    Raises:
        ValueError: no rows at all, or one that cannot be read or has another shape than the others; the message holds
            its number, the field and what is wrong.
    """
    counted: dict[str, list[int]] = defaultdict(list)
    shapes: dict[Shape, int] = {}
    columns: dict[str, None] = {}
    taken, number = [], -1
    for number, row in enumerate(rows):
        columns |= dict.fromkeys(map(str, row))
        done: set[str] = set()
        try:
            shape = shape_of(row, answers=answers, rendering=rendering)
            _same_shape(shapes, shape, number)
            taken.append({"record": number, **read_record(row, shape, rendering=rendering, done=done), "of": row})
        except Unusable as reason:
            counted[str(reason)].append(number)
            continue
        except ValueError as error:
            raise ValueError(f"{source}: record {number}: {error}") from None
        for note in done:
            counted[note].append(number)
    if number < 0:
        raise ValueError(f"{source} hold no records")
    kept = _numbers(taken, columns)
    records = tuple(_record(one, kept) for one in taken)
    _count_conflicts(records, counted)
    return Taken(records, _summary(records, counted, source, number + 1, next(iter(shapes)).kind, columns, kept))


def _same_shape(shapes: dict[Shape, int], shape: Shape, number: int) -> None:
    shapes.setdefault(shape, number)
    other = next((one for one in shapes if not one.agrees(shape)), None)
    if other is not None:
        raise ValueError(
            f"is {shape.describe()}, and record {shapes[other]} is {other.describe()}: give data of one kind"
        )


def _numbers(taken: Sequence[Mapping[str, Any]], columns: Iterable[str]) -> dict[str, type[int] | type[float]]:
    """The other columns whose values are all numbers, or missing: int where all are, else float."""
    rows = [one["of"] for one in taken]
    known = {"id", "record", *PAIRED_COLUMNS, *UNPAIRED_COLUMNS, "messages"}
    found = [name for name in columns if name not in known and all(_is_number(row.get(name)) for row in rows)]
    return {name: float if any(isinstance(row.get(name), float) for row in rows) else int for name in found}


def _is_number(value: Any) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < NUMBERS)


def _record(one: Mapping[str, Any], kept: Mapping[str, type[int] | type[float]]) -> dict[str, Any]:
    row = one["of"]
    own = {name: value for name, value in one.items() if name != "of"}
    numbers = {name: None if row.get(name) is None else number(row[name]) for name, number in kept.items()}
    return {"id": record_id(own) if row.get("id") is None else str(row["id"]), **own, **numbers}


def _count_conflicts(records: Iterable[Mapping[str, Any]], counted: dict[str, list[int]]) -> None:
    """Note records that say again, or the contrary of, what others say, and ratings against the preference."""
    seen: set[str] = set()
    for record in records:
        said = {name: record[name] for name in (*PAIRED_COLUMNS, *UNPAIRED_COLUMNS) if name in record}
        key, number = record_id(said), record["record"]
        if key in seen:
            counted[REPEATED_RECORDS].append(number)
        seen.add(key)
        for better, worse in RATINGS:
            if record.get(better) is not None and record.get(worse) is not None:
                if record[better] == record[worse]:
                    counted[RATED_ALIKE].append(number)
                elif record[better] < record[worse]:
                    counted[RATED_LESS].append(number)
    for record in records:
        if "chosen" in record:
            exchanged = {"prompt": record["prompt"], "chosen": record["rejected"], "rejected": record["chosen"]}
            note = REVERSED_RECORDS
        elif "label" in record:
            exchanged = {name: record[name] for name in ("prompt", "completion")} | {"label": not record["label"]}
            note = BOTH_LABELS
        else:
            continue
        if record_id(exchanged) in seen:
            counted[note].append(record["record"])


def _summary(
    records: Sequence[Mapping[str, Any]],
    counted: Mapping[str, Sequence[int]],
    source: str,
    total: int,
    kind: str,
    columns: Iterable[str],
    kept: Iterable[str],
) -> Summary:
    counts = {what: len(numbers) for what, numbers in sorted(counted.items())}
    labels = [record["label"] for record in records if "label" in record]
    fields = {"id", *(PAIRED_COLUMNS if kind == "paired" else (*UNPAIRED_COLUMNS, "messages")), *kept}
    return Summary(
        source=source,
        kind=kind,
        records=total,
        taken=len(records),
        dropped={what: count for what, count in counts.items() if what in REMEDIES},
        notes={what: count for what, count in counts.items() if what not in REMEDIES},
        labels={"true": sum(labels), "false": len(labels) - sum(labels)} if kind == "unpaired" else {},
        first={what: min(counted[what]) for what in counts},
        unread=tuple(sorted(name for name in columns if name not in fields)),
    )
