"""How error messages list names. Torch-free."""

from collections.abc import Iterable

LISTED_NAMES = 5


def listed(names: Iterable[str]) -> str:
    """The first five names, then how many more there are: `a, b, c, d, e and 3 more`; `none` where there are none."""
    names = list(names)
    rest = len(names) - LISTED_NAMES
    return (", ".join(names[:LISTED_NAMES]) or "none") + (f" and {rest} more" if rest > 0 else "")
