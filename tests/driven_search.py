"""A search that is driven without Ray: proposals and ends are events of a state, as a driver would write them."""

import json
import math
from collections.abc import Callable
from typing import Any

from omsweep.plan.optuna import StudyProposer
from omsweep.space.search_space import SearchSpace
from omsweep.store.events import Event
from omsweep.store.state import SweepState, apply
from omsweep.strict_json import plain
from tests.space_files import flat


def outcome(sample: dict[str, Any]) -> dict[str, Any]:
    """A made-up trade-off: reward and tax both grow with the learning rate."""
    rate = math.log(sample["learning_rate"])
    tax = math.exp(rate + 8)
    errors = {"reward_se_items": 0.1, "tax_se_items": 0.5}
    return {"state": "completed", "reward": rate + 9, "tax": tax, "kl": tax, **errors}


def some_stopped(sample: dict[str, Any]) -> dict[str, Any]:
    """As `outcome`, but every fifth trial is stopped and every seventh fails."""
    number = int(sample["trial_id"].removeprefix(sample["family"]).split("-")[1])
    state = "stopped" if number % 5 == 4 else "failed" if number % 7 == 6 else "completed"
    return outcome(sample) | {"state": state}


def searched(
    space: SearchSpace,
    proposer: StudyProposer,
    state: SweepState,
    at_once: int,
    ends: Callable[[dict[str, Any]], dict[str, Any]] = outcome,
) -> tuple[list[dict[str, Any]], list[SweepState]]:
    """Samples in their order, and the states of the sweep after each event; the oldest of `at_once` trials ends."""
    samples: list[dict[str, Any]] = []
    states, running = [state], [one.trial_id for one in state.proposed() if one.outcome is None]

    def happened(kind: str, trial_id: str, **data: Any) -> None:
        states.append(apply(states[-1], Event(states[-1].seq + 1, 1, 0.0, kind, trial_id, None, data)))

    while True:
        made = proposer.next() if len(running) < at_once else None
        if made is not None:
            samples.append(flat(made.spec))
            running.append(made.spec.trial_id)
            fields = json.loads(json.dumps(plain(made.spec.model_dump(exclude={"trial_id"}))))
            happened("proposed", made.spec.trial_id, trial=fields, drawn=json.loads(json.dumps(made.drawn)))
        elif running:
            trial_id = running.pop(0)
            ended = ends(flat(states[-1].trials[trial_id].spec))
            happened("ended", trial_id, outcome=ended)
            proposer.tell(trial_id, ended)
        else:
            return samples, states
