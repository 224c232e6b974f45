"""Small pieces of HTML. Whatever is not written in this package goes through `text`, which escapes it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from omsweep.report.styles import Marker
from omsweep.results.numbers import MISSING, is_number


def text(value: Any) -> str:
    """`value` as escaped text, safe in elements and in quoted attributes."""
    return escape(str(value), quote=True)


@dataclass(frozen=True, kw_only=True)
class Column:
    """A table's column: `title` is text, `group` an HTML class, `descending` the order a first click gives."""

    title: str
    numeric: bool = True
    group: str = ""
    first_of_group: bool = False
    descending: bool = False
    pinned: bool = False
    hint: str = ""


def cell(content: str, column: Column, sort: Any = None, *, style: str = "") -> str:
    """A table cell of HTML `content`; `sort` is what the column is sorted by."""
    tag = "th" if column.pinned else "td"
    attributes = f' class="{_classes(column)}"' if _classes(column) else ""
    if sort is not None and sort == sort:
        attributes += f' data-sort="{text(sort)}"'
    if column.pinned:
        attributes += ' scope="row"'
    if style:
        attributes += f' style="{style}"'
    shown = f'<span class="none">{MISSING}</span>' if content in ("", MISSING) else content
    return f"<{tag}{attributes}>{shown}</{tag}>"


def heading(column: Column, *, sortable: bool = True) -> str:
    """A column's heading, with the button that sorts by it."""
    title = f"<button>{text(column.title)}</button>" if sortable else text(column.title)
    kind = "number" if column.numeric else "text"
    order = ' data-first="descending"' if column.descending else ""
    hint = f' title="{text(column.hint)}"' if column.hint else ""
    return f'<th scope="col" class="{_classes(column)}" data-kind="{kind}"{order}{hint}>{title}</th>'


def table(
    columns: Sequence[Column],
    rows: Iterable[str],
    *,
    element_id: str = "",
    groups: str = "",
    sortable: bool = True,
    tall: bool = False,
    label: str = "",
) -> str:
    """A scrolling table of `rows` (HTML); `groups` is a row of HTML above the headings."""
    identity = f' id="{element_id}"' if element_id else ""
    head = groups + "<tr>" + "".join(heading(column, sortable=sortable) for column in columns) + "</tr>"
    scroll = "scroll tall" if tall else "scroll"
    return (
        f'<div class="{scroll}" tabindex="0" role="region" aria-label="{text(label)}"><table{identity}>'
        f"<thead>{head}</thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def swatch(colour: str) -> str:
    """A dot in a method's colour."""
    return f'<span class="dot" style="background:{colour}"></span>'


def symbol(marker: Marker, colour: str) -> str:
    """A marker as inline SVG."""
    return (
        '<svg width="14" height="14" viewBox="-7 -7 14 14" aria-hidden="true">'
        f'<path d="{marker.path}" fill="{colour}"/></svg>'
    )


def badge(state: str) -> str:
    """A trial's state or a verdict as a coloured label."""
    return f'<span class="badge {text(state)}">{text(state)}</span>'


def plus_minus(shown: str) -> str:
    """`+1.25 ± 0.30` with the error in a quieter tone."""
    value, mark, error = shown.partition(" ± ")
    return f'{text(value)} <span class="pm">±&nbsp;{text(error)}</span>' if mark else text(value)


def sort_key(value: Any) -> Any:
    """What a cell sorts by: finite numbers as they are, booleans as 0 and 1, other text, nothing for None."""
    if value is None or (isinstance(value, float) and not is_number(value)):
        return None
    return int(value) if isinstance(value, bool) else value


def _classes(column: Column) -> str:
    names = [column.group, "first" if column.first_of_group else "", "" if column.numeric else "text"]
    return " ".join(name for name in (*names, "pin" if column.pinned else "") if name)
