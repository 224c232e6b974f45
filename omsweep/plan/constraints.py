"""Bounds on a trial's numbers (`search.constraints`): how far it is outside of them. Torch-free."""

import math
from collections.abc import Mapping
from typing import Any

from omsweep.space.schema import Bound


def violations(constraints: Mapping[str, Bound], record: Mapping[str, Any]) -> dict[str, float] | None:
    """By constraint, how far a trial lies outside of the bound; at most 0 inside.

    A distance is a share of the bound's size (of 1 for a bound at 0), so that distances of numbers with different units
    can be added, as samplers do.

    Returns:
        None where one of the numbers does not exist.
    """
    found: dict[str, float] = {}
    for name, bound in constraints.items():
        value = record.get(name)
        if not isinstance(value, int | float) or not math.isfinite(value):
            return None
        for side, limit, beyond in (("at most", bound.at_most, 1), ("at least", bound.at_least, -1)):
            if limit is not None:
                found[f"{name} {side} {limit:g}"] = beyond * (value - limit) / (abs(limit) or 1.0)
    return found
