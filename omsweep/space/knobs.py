"""Knobs of a search space: a plain value is fixed, a mapping with one sampler key is drawn.

`alpha: {by_name: {"*.mlp.*": 1.0e-3, "*": 0.0}}` is fixed too: the first pattern that matches a parameter counts.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

Scalar: TypeAlias = str | int | float | bool | Mapping[str, float] | None
BY_NAME = "by_name"
MOST_VALUES = 200
"""Of a choice."""


class SpaceError(ValueError):
    """A mistake in a search space file; `path` is the key path, the message holds the value and what is allowed."""

    def __init__(self, path: str, message: str) -> None:
        super().__init__(f"{path}: {message}" if path else message)
        self.path = path
        self.message = message


@dataclass(frozen=True)
class Fixed:
    """One value, never drawn."""

    value: Scalar


@dataclass(frozen=True)
class Choice:
    """One of several values, each equally likely."""

    values: tuple[Scalar, ...]


@dataclass(frozen=True)
class Interval:
    """A real number in [low, high], uniform in the value or, with `log`, in its logarithm."""

    low: float
    high: float
    log: bool


@dataclass(frozen=True)
class Integer:
    """A whole number in [low, high], both included."""

    low: int
    high: int


Knob: TypeAlias = Fixed | Choice | Interval | Integer

SAMPLERS = {
    "choice": "a list of plain values",
    "uniform": "[low, high]",
    "loguniform": "[low, high] with 0 < low",
    "randint": "[low, high], whole numbers, both included",
}


def parse_knob(raw: Any, path: str) -> Knob:
    """Read one knob; raises SpaceError naming the sampler, the value and the form that is allowed."""
    if isinstance(raw, Mapping) and list(raw) == [BY_NAME]:
        return Fixed(_by_name(raw[BY_NAME], path))
    if isinstance(raw, Mapping):
        if len(raw) != 1 or next(iter(raw)) not in SAMPLERS:
            raise SpaceError(path, f"a drawn knob is one of {_sampler_forms()}, got {dict(raw)!r}")
        sampler, argument = next(iter(raw.items()))
        return _parse_sampler(sampler, argument, f"{path}.{sampler}")
    if isinstance(raw, list):
        raise SpaceError(path, f"a list is drawn from with {{choice: {raw!r}}}, got a bare list")
    return Fixed(raw)


def _by_name(raw: Any, path: str) -> Mapping[str, float]:
    """An ordered mapping of patterns over parameter names to numbers; only `alpha` takes one."""
    if not path.endswith(".alpha"):
        raise SpaceError(f"{path}.{BY_NAME}", "only alpha goes by parameter name")
    if not isinstance(raw, Mapping) or not raw or not all(isinstance(k, str) and _is_number(v) for k, v in raw.items()):
        raise SpaceError(f"{path}.{BY_NAME}", f"must map patterns of parameter names to numbers, got {raw!r}")
    return dict(raw)


def _parse_sampler(sampler: str, argument: Any, path: str) -> Knob:
    if sampler == "choice":
        if not isinstance(argument, list) or not argument or any(isinstance(v, list | dict) for v in argument):
            raise SpaceError(path, f"must be a non-empty list of plain values, got {argument!r:.400}")
        if len(argument) > MOST_VALUES:
            raise SpaceError(path, f"must hold at most {MOST_VALUES} values, got {len(argument)}: give a range")
        if len({repr(v) for v in argument}) < len(argument):
            raise SpaceError(path, f"must not repeat a value, got {argument!r:.400}")
        return Choice(tuple(argument))
    if not (isinstance(argument, list) and len(argument) == 2 and all(_is_number(v) for v in argument)):
        raise SpaceError(path, f"must be {SAMPLERS[sampler]}, got {argument!r}")
    low, high = argument
    if not low < high:
        raise SpaceError(path, f"must have low < high, got {argument!r}")
    if sampler == "randint":
        if not all(isinstance(v, int) for v in argument):
            raise SpaceError(path, f"must hold whole numbers, got {argument!r}")
        return Integer(low, high)
    if sampler == "loguniform" and low <= 0:
        raise SpaceError(path, f"must have 0 < low, got {argument!r}")
    return Interval(float(low), float(high), log=sampler == "loguniform")


def edge_values(knob: Knob) -> tuple[Scalar, ...]:
    """Every value of a fixed or chosen knob, both ends of a range: what a check has to try."""
    match knob:
        case Fixed(value):
            return (value,)
        case Choice(values):
            return values
        case Interval(low, high) | Integer(low, high):
            return (low, high)


def contains(knob: Knob, value: Any) -> bool:
    """Whether `value` can be drawn from `knob`."""
    match knob:
        case Fixed() | Choice():
            return value in edge_values(knob)
        case Interval(low, high):
            return _is_number(value) and low <= value <= high
        case Integer(low, high):
            return isinstance(value, int) and low <= value <= high


def from_unit(knob: Knob, unit: float) -> Scalar:
    """The value at quantile `unit` in [0, 1) of the knob's distribution."""
    match knob:
        case Fixed(value):
            return value
        case Choice(values):
            return values[int(unit * len(values))]
        case Integer(low, high):
            return low + int(unit * (high - low + 1))
        case Interval(low, high, log):
            if log:
                return math.exp(math.log(low) + unit * (math.log(high) - math.log(low)))
            return low + unit * (high - low)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _sampler_forms() -> str:
    return ", ".join(f"{{{name}: {form}}}" for name, form in SAMPLERS.items())
