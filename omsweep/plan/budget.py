"""What a sweep has used of its `budget`, and how many trials it may still begin. Pure, Ray-free.

Everything follows from the log, so that it holds whatever becomes of drivers: attempts count from their start to their
end, lost ones too; those of a driver that was killed up to its last event. The time between two drivers counts nowhere.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from omsweep.space.schema import Budget
from omsweep.store.state import SweepState

HOUR = 3600.0


@dataclass(frozen=True, kw_only=True)
class Use:
    """How much of one limit was used: `budget.<name>`, both numbers in `unit`."""

    name: str
    used: float
    limit: float
    unit: str

    @property
    def up(self) -> bool:
        """Whether nothing is left."""
        return self.used >= self.limit

    def __str__(self) -> str:
        used, limit = (f"{round(number, 2):,.10g}" for number in (self.used, self.limit))
        return f"{used} of {limit} {self.unit}"


def uses(budget: Budget, state: SweepState, now: float = 0.0) -> list[Use]:
    """How much was used of every limit that is set.

    Args:
        budget: of the search space.
        state: of the sweep.
        now: Unix time until which what runs is counted, at least until the last event.
    """
    used = state.used_until(max(now, state.time))
    gpu_hours, cpu_hours = used.gpu_seconds / HOUR, used.cpu_seconds / HOUR
    money = gpu_hours * (budget.per_gpu_hour or 0.0) + cpu_hours * (budget.per_cpu_hour or 0.0)
    amounts = {
        "trials": (used.trials, budget.trials, "trials"),
        "wall_hours": (used.wall_seconds / HOUR, budget.wall_hours, "hours"),
        "gpu_hours": (gpu_hours, budget.gpu_hours, "GPU hours"),
        "money": (money, budget.money, budget.currency or "units of money"),
    }
    return [
        Use(name=name, used=amount, limit=limit, unit=unit)
        for name, (amount, limit, unit) in amounts.items()
        if limit is not None
    ]


def admitted(budget: Budget, state: SweepState, now: float = 0.0) -> float:
    """How many trials may still be begun: infinity where nothing limits their number, 0 once a limit is used up."""
    if any(one.up for one in uses(budget, state, now)):
        return 0
    return math.inf if budget.trials is None else budget.trials - state.used.trials


def describe(found: Sequence[Use], not_started: int) -> str | None:
    """`the budget is used up (budget.trials: 3 of 3 trials); 5 trials were not started`; None while nothing is."""
    up = ", ".join(f"budget.{one.name}: {one}" for one in found if one.up)
    which = f"{not_started} trials were" if not_started != 1 else "1 trial was"
    return f"the budget is used up ({up}); {which} not started" if up else None
