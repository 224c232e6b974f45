"""What became of the records of a data set: read, taken, dropped and why, and what was done to them. Plain Python."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from omsweep.preferences.turns import REMEDIES


@dataclass(frozen=True, kw_only=True)
class Summary:
    """The records of one data set; `records == taken + sum(dropped.values())`.

    Attributes:
        source: what the user calls the data, with the key that names them.
        kind: `paired`, `unpaired` or `answers`.
        records: records read.
        taken: records that are trained.
        dropped: reason -> records.
        notes: what was done to records that are taken, or holds for them -> records.
        labels: of unpaired records that are taken: how many are true, and false.
        first: reason or note -> number of the first such record, from 0.
        unread: columns that nothing reads.
    """

    source: str
    kind: str
    records: int
    taken: int
    dropped: Mapping[str, int] = field(default_factory=dict)
    notes: Mapping[str, int] = field(default_factory=dict)
    labels: Mapping[str, int] = field(default_factory=dict)
    first: Mapping[str, int] = field(default_factory=dict)
    unread: tuple[str, ...] = ()

    def called(self, name: str) -> "Summary":
        """The same of data that lie elsewhere too: `source` is what data they are and their name."""
        return replace(self, source=f"{self.source.split()[0]} {name}")

    def without(self, reason: str, numbers: Sequence[int]) -> "Summary":
        """The same when these records, taken so far, are dropped too."""
        if not numbers:
            return self
        dropped = {**self.dropped, reason: len(numbers)}
        first = {**self.first, reason: min(numbers)}
        return replace(self, taken=self.taken - len(numbers), dropped=dropped, first=first)

    def lines(self) -> list[str]:
        """The table: how many were read and taken, then a line for each reason and each note."""
        labels = ", ".join(f"{count} {label}" for label, count in self.labels.items())
        head = f"{self.source}: {self.records} records, {self.taken} taken" + (f" ({labels})" if labels else "")
        rows = [
            f"{count:>8}  dropped: {reason} (first: record {self.first[reason]}); {REMEDIES[reason]}"
            for reason, count in self.dropped.items()
        ]
        rows += [f"{count:>8}  {note} (first: record {self.first[note]})" for note, count in self.notes.items()]
        unread = [f"{'':>8}  columns that are not read: {', '.join(self.unread)}"] if self.unread else []
        return [head, *rows, *unread]

    def as_mapping(self) -> dict[str, Any]:
        """Plain data, the fields by name."""
        return asdict(self)


def summary_from(content: Mapping[str, Any]) -> Summary:
    """The summary of which `as_mapping` made plain data."""
    return Summary(**{**content, "unread": tuple(content["unread"])})


def refuse_loss(summary: Summary, *, max_dropped_share: float) -> None:
    """ValueError with the table where nothing is left, or a greater share of the records than this is dropped."""
    lost = summary.records - summary.taken
    if summary.taken and lost <= max_dropped_share * summary.records:
        return
    rows = summary.lines()[1:]
    reasons = "; ".join(summary.dropped)
    allowed = "none is left" if not summary.taken else f"preferences.max_dropped_share allows {max_dropped_share:g}"
    raise ValueError(
        "\n".join(
            [f"{summary.source}: {lost} of {summary.records} records are dropped and {allowed}: {reasons}", *rows]
        )
    )


def check_algorithms(summary: Summary, algorithms: Iterable[str]) -> None:
    """ValueError where records are not of the kind that algorithms train on, or kto has one label alone."""
    paired = [name for name in algorithms if name != "kto"]
    if paired and summary.kind == "unpaired":
        raise ValueError(
            f"{summary.source}: dpo and ipo need paired preferences (prompt, chosen, rejected), got unpaired ones "
            "(prompt, completion, label); kto takes those"
        )
    missing = [label for label, count in summary.labels.items() if not count]
    if missing:
        raise ValueError(
            f"{summary.source}: kto needs desirable (label true) and undesirable (label false) completions, got none"
            f" whose label is {missing[0]} among {summary.taken} records"
        )
