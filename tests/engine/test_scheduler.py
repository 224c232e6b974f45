"""What a trial reports at a rung is told, and Tune is given the answer."""

import json
import math
from types import SimpleNamespace
from typing import Any

from ray.tune.schedulers import TrialScheduler

from omsweep.engine.scheduler import RungScheduler
from omsweep.space.schema import Bound
from omsweep.store.records import Outcome
from omsweep.store.state import Rung


class Events:
    def __init__(self, goes_on: bool) -> None:
        self.goes_on, self.told = goes_on, []  # type: bool, list[Rung]

    def reach(self, trial: Any, rung: Rung) -> bool:
        self.told.append(rung)
        return self.goes_on


def answer(events: Any, **row: Any) -> str:
    scheduler = RungScheduler(events, ("reward", "tax_worst"), {"kl": Bound(at_most=10.0)})
    assert scheduler.set_search_properties(None, None)
    return scheduler.on_trial_result(None, SimpleNamespace(config={}), row)


RUNG = {"level": 1, "step": 24, "reward_noise": [0.1, 0.2], "tax_noise": [0.3]}


def test_only_rungs_are_decided_on() -> None:
    events = Events(goes_on=False)
    assert answer(events, loss=0.7, state="running") == TrialScheduler.CONTINUE
    assert events.told == []


def test_the_objectives_of_the_sweep_and_its_constraints_count() -> None:
    events = Events(goes_on=True)
    outcome = Outcome(state="stopped", reward=0.5, tax=1.0, tax_worst=2.0, kl=15.0)
    told = {"outcome": outcome.model_dump_json(), "rung": json.dumps(RUNG)}
    assert answer(events, **told) == TrialScheduler.CONTINUE
    assert events.told == [Rung(1, 24, 0.5, 2.0, (0.1, 0.2), (0.3,), constraints=(0.5,))]
    assert answer(Events(goes_on=False), **told) == TrialScheduler.STOP


def test_numbers_that_do_not_exist_are_not_invented() -> None:
    events = Events(goes_on=True)
    answer(events, outcome=Outcome(state="stopped", reward=0.5).model_dump_json(), rung=json.dumps(RUNG))
    (rung,) = events.told
    assert rung.reward == 0.5
    assert math.isnan(rung.tax)
    assert math.isnan(rung.constraints[0])
