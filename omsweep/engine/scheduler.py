"""Tune's side of stopping: what a trial reports at a rung goes to the queue, whose answer Tune is given.

Tune's own schedulers know one metric; the rule is `omsweep.plan.stopping`, and its memory the log.
"""

import json
import math
from collections.abc import Mapping
from typing import Any

from ray.tune.schedulers import FIFOScheduler

from omsweep.engine.tune_queue import TuneEvents
from omsweep.plan.told import violations
from omsweep.space.schema import Bound
from omsweep.store.records import Outcome
from omsweep.store.state import Rung


class RungScheduler(FIFOScheduler):
    """Stops trials at rungs.

    Args:
        events: of the same sweep.
        objectives: trial fields that are reward and tax.
        constraints: bounds on trial fields.
    """

    def __init__(self, events: TuneEvents, objectives: tuple[str, str], constraints: Mapping[str, Bound]) -> None:
        super().__init__()
        self._events, self._objectives, self._constraints = events, objectives, constraints

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune pickles its scheduler for a restore of its own, and this one belongs to the living driver."""
        return {}

    def set_search_properties(self, metric: str | None, mode: str | None, **spec: Any) -> bool:
        """Nothing: there are two metrics, and Tune knows neither."""
        return True

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Whether a trial goes on from what it reports."""
        if "rung" not in result:
            return self.CONTINUE
        outcome = Outcome.model_validate_json(result["outcome"])
        reward, tax = (getattr(outcome, name) for name in self._objectives)
        known: dict[str, Any] = {
            name: tuple(one) if isinstance(one, list) else one for name, one in json.loads(result["rung"]).items()
        }
        beyond = violations(self._constraints, outcome.model_dump())
        constraints = (math.nan,) if beyond is None else tuple(beyond.values())
        rung = Rung(**known, reward=_number(reward), tax=_number(tax), constraints=constraints)
        return self.CONTINUE if self._events.reach(trial, rung) else self.STOP


def _number(value: float | None) -> float:
    return math.nan if value is None else value
