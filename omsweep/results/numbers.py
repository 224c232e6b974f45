"""Numbers as people read them: true minus signs, fixed digits, an en dash for what is missing."""

import math
from typing import Any, TypeGuard

SMALL = 1e-3
MISSING = "–"  # noqa: RUF001
INTERVAL_LEVEL = 0.9
"""Of the t intervals over seeds in studies and comparisons."""
Z95 = 1.96
"""Half-width of a 95 % normal interval in standard errors: what error bars on pages and plots show."""


def is_number(value: Any) -> TypeGuard[int | float]:
    """Whether `value` is a finite number (booleans are not)."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def fixed(value: Any, digits: int = 2, *, signed: bool = False) -> str:
    """`value` with `digits` decimals, `+1.25` when signed; MISSING when it is no finite number."""
    if not is_number(value):
        return MISSING
    text = f"{value:+.{digits}f}" if signed else f"{value:.{digits}f}"
    if float(text) == 0:
        text = text.lstrip("+-")
    return text.replace("-", "\u2212")


def with_error(value: Any, standard_error: Any, digits: int = 2) -> str:
    """`+1.25 ± 0.30`: a signed value and 1.96 standard errors; the value alone when no error is known."""
    if not is_number(standard_error):
        return fixed(value, digits, signed=True)
    return f"{fixed(value, digits, signed=True)} ± {fixed(Z95 * standard_error, digits)}"


def short(value: Any) -> str:
    """A setting or diagnostic: three significant digits for fractions (`3.8e−4` when small), yes, no, text as it is."""
    if value is None:
        return MISSING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return str(value).replace("-", "\u2212")
    if isinstance(value, float):
        digits = f"{value:.2e}" if 0 < abs(value) < SMALL else f"{value:.3g}"
        mantissa, _, exponent = digits.partition("e")
        mantissa = mantissa.rstrip("0").rstrip(".") if exponent and "." in mantissa else mantissa
        text = f"{mantissa}e{int(exponent)}" if exponent else mantissa
        return text.replace("-", "\u2212") if math.isfinite(value) else MISSING
    return str(value)


def counted(number: int, singular: str, plural: str | None = None) -> str:
    """`1 trial`, `3 trials`."""
    return f"{number} {singular if number == 1 else plural or singular + 's'}"


def duration(seconds: float) -> str:
    """`87 s`, `12 min`, `3.4 h`: two digits that count."""
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 99.5 * 60 else f"{seconds / 3600:.1f} h"
