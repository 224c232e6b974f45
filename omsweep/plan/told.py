"""What a study is told of a trial's end: its state in Optuna's words, both objectives and the constraints.

| a trial | in its study | why |
|---|---|---|
| completed with both objectives and all constrained numbers | COMPLETE | |
| stopped early | PRUNED, without values | those of its last rung are not what it would have scored at its end |
| everything else | FAIL | nothing is known of the recipe |
"""

import math
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from omsweep.space.schema import Bound
from omsweep.space.search_space import SearchSpace

StudyState = Literal["COMPLETE", "PRUNED", "FAIL"]
STATES_THAT_INFORM: Mapping[str, StudyState] = {"completed": "COMPLETE", "stopped": "PRUNED"}


class Told(NamedTuple):
    """What a study is told.

    Attributes:
        state: of the trial in the study.
        values: (reward, tax) where it is COMPLETE.
        constraints: by name, above 0 outside of it; of a trial that is COMPLETE.
        item_variances: squared standard errors over items of tax and reward; 0 where there is none.
    """

    state: StudyState
    values: tuple[float, float] | None = None
    constraints: Mapping[str, float] = {}
    item_variances: tuple[float, float] = (0.0, 0.0)


def told(space: SearchSpace, outcome: Mapping[str, Any] | None) -> Told:
    """What a study is told of a trial that ended with these fields of an outcome."""
    record = outcome or {}
    state = STATES_THAT_INFORM.get(str(record.get("state")), "FAIL")
    if state != "COMPLETE":
        return Told(state)
    objectives = space.file.objectives
    reward, tax = (_number(record.get(name)) for name in (objectives.reward, objectives.tax))
    outside = violations(space.search.constraints, record)
    if reward is None or tax is None or outside is None:
        return Told("FAIL")
    errors = [_number(record.get(f"{name}_se_items")) or 0.0 for name in (objectives.tax, objectives.reward)]
    return Told(state, (reward, tax), outside, (errors[0] ** 2, errors[1] ** 2))


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


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None
