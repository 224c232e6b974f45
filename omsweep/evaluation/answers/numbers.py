"""The number that an answer ends with: Math401 and Math23K."""

import re
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

MATH401_TOLERANCE = Fraction(1, 1000)
"""An answer that is less than this away is right (arXiv:2304.02015, and the README of its repository)."""
MATH23K_TOLERANCE = Fraction(1, 10_000)
"""Ours, of the answer or of one, whichever is more: answers are published with up to four decimals."""

_DIGITS = r"(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?(?:[eE][-+]?\d+)?|\.\d+"
_SIGN = r"(?:(?<![\d)])(?<![\d)]\s)[-+]\s?)?"
_NUMBER = re.compile(
    rf"(?P<hundredth>百分之)?(?P<sign>{_SIGN})"
    rf"(?:(?P<whole>\d+)(?:又|\s+(?=\d+/\d)))?(?P<first>{_DIGITS})"
    rf"(?:\s?(?P<by>/|分之)\s?(?P<second>{_DIGITS}))?(?P<percent>\s?%)?"
)
_FULL_WIDTH = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)} | {
    0x2212: "-",  # minus sign
    0x2013: "-",  # en dash
    0x3000: " ",  # ideographic space
}
_FRACTION = re.compile(r"(\d?)\s*\\[dt]?frac\s*\{\s*(-?[\d.,]+)\s*\}\s*\{\s*([\d.,]+)\s*\}")
_MIXED = re.compile(r"(-?\d+)\(+(\d+)\)?/\(?(\d+)\)+")
_RATIO = re.compile(r"\(*(-?\d+(?:\.\d+)?)\)?/\(?(\d+(?:\.\d+)?)\)*")
_PLAIN = re.compile(r"\(*(-?\d+(?:\.\d+)?)\)*(%?)")


def last_number(text: str) -> Fraction | None:
    """The last number in a text: whole, decimal, `3/4`, `1又1/2`, `4分之3`, `25%`, LaTeX's fractions; None for none.

    A minus counts where neither digit nor bracket is before it. Commas part thousands.
    """
    plain = text.translate(_FULL_WIDTH).replace("\\%", "%").replace("{,}", ",")
    plain = _FRACTION.sub(lambda found: f"{found[1]}{'又' if found[1] else ''}{found[2]}/{found[3]}", plain)
    values = [value for found in _NUMBER.finditer(plain) if (value := _value(found)) is not None]
    return values[-1] if values else None


def _value(found: re.Match[str]) -> Fraction | None:
    first, second = _number(found["first"]), found["second"]
    if second is not None:
        above, below = (_number(second), first) if found["by"] == "分之" else (first, _number(second))
        if not below:
            return None
        first = above / below
    value = first + int(found["whole"] or 0)
    if found["hundredth"] or found["percent"]:
        value /= 100
    return -value if "-" in found["sign"] else value


def _number(digits: str) -> Fraction:
    return Fraction(digits.replace(",", ""))


def math401(doc: Mapping[str, Any], results: Sequence[str]) -> dict[str, float]:
    """1 where the last number outside of brackets, else the last of all, is right to `MATH401_TOLERANCE`."""
    outside = last_number(re.sub(r"\([^()]*\)", " ", results[0].translate(_FULL_WIDTH)))
    said = outside if outside is not None else last_number(results[0])
    right = said is not None and abs(said - Fraction(doc["response"])) < MATH401_TOLERANCE
    return {"acc": float(right)}


def math23k(doc: Mapping[str, Any], results: Sequence[str]) -> dict[str, float]:
    """1 where the last number behind the last `答案`, or of the whole answer, is right to `MATH23K_TOLERANCE`."""
    behind = last_number(results[0].rpartition("答案")[2])
    said = behind if behind is not None else last_number(results[0])
    right = solution(doc)
    near = said is not None and abs(said - right) <= MATH23K_TOLERANCE * max(Fraction(1), abs(right))
    return {"acc": float(near)}


def solution(doc: Mapping[str, Any]) -> Fraction:
    """The answer of an item of Math23K: `12`, `3.5`, `20%`, `3/4`, `(3)/(4)`, `1(1/2)`, `((3)/(4))`.

    Raises:
        ValueError: another shape.
    """
    text = str(doc["ans"]).translate(_FULL_WIDTH).replace(" ", "")
    if found := _MIXED.fullmatch(text):
        part = Fraction(int(found[2]), int(found[3]))
        return int(found[1]) - part if found[1].startswith("-") else int(found[1]) + part
    if (found := _RATIO.fullmatch(text)) and Fraction(found[2]):
        return Fraction(found[1]) / Fraction(found[2])
    if found := _PLAIN.fullmatch(text):
        return Fraction(found[1]) / (100 if found[2] else 1)
    raise ValueError(f"ans must be a number such as 12, 3.5, 20%, 3/4 or 1(1/2), got {doc['ans']!r}")


def math23k_target(doc: Mapping[str, Any]) -> str:
    """The answer as a number, so that one in another shape is refused when the suite is loaded."""
    return str(float(solution(doc)))
