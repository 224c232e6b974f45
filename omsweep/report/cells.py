"""Tables as plain data: columns with headings, rows of cells, each cell's text and what it is sorted by."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from omsweep.results.numbers import Z95, fixed, is_number, short

SortKey = str | int | float | None


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column.

    Args:
        title: its heading.
        numeric: whether it is sorted as numbers and stands to the right.
        first_of_group: whether a line separates it from the column before.
        descending: whether a first click sorts from large to small.
        pinned: whether it stays in sight while the others scroll.
        hint: its tooltip.
    """

    title: str
    numeric: bool = True
    first_of_group: bool = False
    descending: bool = False
    pinned: bool = False
    hint: str = ""

    @property
    def classes(self) -> str:
        """The style sheet's names for its cells."""
        first, text, pin = self.first_of_group, not self.numeric, self.pinned
        return " ".join([*["first"] * first, *["text"] * text, *["pin"] * pin])


@dataclass(frozen=True)
class Cell:
    """What a cell shows, in this order: star, dot in `swatch`, text, `± error`, badge, interval.

    Args:
        text: its text; with nothing else an empty one is shown as missing.
        sort: what it is sorted by; None stays last.
        error: half-width of the text's interval.
        interval: the text's interval, in brackets.
        badge: a state or a verdict, as a coloured label.
        code: whether the text is an identifier.
        starred: whether it is on the front.
        swatch: colour of the dot.
        shade: colour of the background.
    """

    text: str = ""
    sort: SortKey = None
    error: str = ""
    interval: str = ""
    badge: str = ""
    code: bool = False
    starred: bool = False
    swatch: str = ""
    shade: str = ""

    def __str__(self) -> str:
        error = f"± {self.error}" if self.error else ""
        return " ".join(part for part in (self.text, error, self.interval, self.badge) if part)


@dataclass(frozen=True, kw_only=True)
class Row:
    """A row; that of a `trial`, its place among the sweep's, is filtered as it is and opens its details.

    A `reference` stays on top when others are sorted.
    """

    cells: Sequence[Cell]
    trial: int | None = None
    reference: bool = False


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table; `label` says to readers who do not see it what it is."""

    label: str
    columns: Sequence[Column]
    rows: Sequence[Row]
    sortable: bool = True


def sort_key(value: Any) -> SortKey:
    """What a cell with this value is sorted by: booleans as 0 and 1, nothing where nothing is known."""
    if value is None or (isinstance(value, float) and not is_number(value)):
        return None
    return int(value) if isinstance(value, bool) else value if isinstance(value, int | float) else str(value) or None


def plain(value: Any, **look: Any) -> Cell:
    """A cell with a text or a number in few digits; None is missing."""
    return Cell(short(value), sort=sort_key(value), **look)


def number(value: Any, digits: int = 2, *, signed: bool = False, **look: Any) -> Cell:
    """A cell with a number of fixed digits; None is missing."""
    return Cell(fixed(value, digits, signed=signed), sort=sort_key(value), **look)


def measured(value: Any, standard_error: Any) -> Cell:
    """`+1.25 ± 0.30`: a signed value and 1.96 standard errors, where they are known."""
    error = fixed(Z95 * standard_error) if is_number(standard_error) else ""
    return number(value, signed=True, error=error)
