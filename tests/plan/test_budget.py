"""What a sweep has used, from events whose times are written down; and whom the queue lets begin."""

import math
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from omsweep.plan.attempts import Attempts, TrialQueue
from omsweep.plan.budget import HOUR, admitted, describe, uses
from omsweep.plan.proposer import DesignProposer
from omsweep.space.schema import Budget
from omsweep.store.events import Event
from omsweep.store.log import SweepLog
from omsweep.store.records import Outcome, TrialSpec
from omsweep.store.state import SweepState, fold
from omsweep.store.storage import FolderStorage

DONE = Outcome(state="completed", reward=0.5, tax=1.0)
ENDED = {"outcome": {"state": "completed"}}
LOST = {"reason": "driver stopped", "error": "it was killed"}
GPUS = {"cpus": 4.0, "gpus": 2.0}


def state(*happened: tuple[int, float, str, str | None, dict[str, Any]]) -> SweepState:
    """Of events given as (epoch, hours, kind, trial, data)."""
    made = [
        Event(seq, epoch, hours * HOUR, kind, trial_id, 1, data)
        for seq, (epoch, hours, kind, trial_id, data) in enumerate(happened, start=1)
    ]
    return fold(made)


def proposed(trial_id: str, **fields: Any) -> tuple[int, float, str, str, dict[str, Any]]:
    return 1, 0.0, "proposed", trial_id, {"trial": {"family": "f", **fields}}


def test_lost_attempts_count_and_the_time_between_two_drivers_does_not() -> None:
    killed = (
        (1, 0.0, "created", None, {"resolved": {}}),
        proposed("a"),
        proposed("b"),
        (1, 1.0, "driver", None, {"did": "started"}),
        (1, 1.0, "started", "a", GPUS),
        (1, 3.0, "started", "b", GPUS),
        (1, 4.0, "progress", "b", {"first_step": 1, "losses": [0.5]}),
    )
    after = (
        (2, 100.0, "changed", None, {"resolved": {}}),
        (3, 200.0, "driver", None, {"did": "started"}),
        (3, 201.0, "lost", "a", LOST),
        (3, 201.0, "lost", "b", LOST),
        (3, 201.0, "started", "b", GPUS),
        (3, 202.0, "ended", "b", ENDED),
        (3, 203.0, "driver", None, {"did": "stopped", "closed": "completed"}),
    )
    budget = Budget(trials=5, wall_hours=100, gpu_hours=50, money=100, per_gpu_hour=2, per_cpu_hour=0.5, currency="EUR")
    found = {one.name: one.used for one in uses(budget, state(*killed))}
    assert found == pytest.approx({"trials": 2, "wall_hours": 3, "gpu_hours": 2 * (3 + 1), "money": 2 * 8 + 0.5 * 16})
    found = {one.name: one.used for one in uses(budget, state(*killed), now=5 * HOUR)}
    assert found == pytest.approx({"trials": 2, "wall_hours": 4, "gpu_hours": 2 * (4 + 2), "money": 2 * 12 + 0.5 * 24})
    for more in (after[:4], after):
        found = {one.name: one.used for one in uses(budget, state(*killed, *more))}
        wall, held = (1, 0) if more == after[:4] else (3, 1)
        expected = {
            "trials": 2,
            "wall_hours": 3 + wall,
            "gpu_hours": 8 + 2 * held,
            "money": 24 + 2 * 2 * held + 2 * held,
        }
        assert found == pytest.approx(expected)
    assert describe(uses(budget, state(*killed, *after)), 3) is None
    small = Budget(money=30, per_gpu_hour=2, per_cpu_hour=0.5, currency="EUR")
    said = describe(uses(small, state(*killed, *after)), 1)
    assert said == "the budget is used up (budget.money: 30 of 30 EUR); 1 trial was not started"


def test_what_was_taken_over_and_merged_points_are_not_begun_trials() -> None:
    found = state(
        (1, 0.0, "created", None, {"resolved": {}}),
        proposed("a"),
        (1, 0.0, "ended", "a", ENDED),
        proposed("a+line-0", kind="posthoc"),
        (1, 0.0, "started", "a+line-0", {}),
        proposed("b"),
        (1, 0.0, "started", "b", {}),
        (1, 0.0, "lost", "b", LOST),
        (1, 0.0, "started", "b", {}),
    )
    assert admitted(Budget(trials=3), found) == 2
    assert admitted(Budget(), found) == math.inf
    assert admitted(Budget(trials=1), found) == 0


@pytest.mark.parametrize("seed", range(20))
def test_the_fold_is_what_a_look_at_all_intervals_gives(seed: int) -> None:
    draw, hours, expected = random.Random(seed), 0.0, {"wall": 0.0, "gpu": 0.0}
    happened: list[tuple[int, float, str, str | None, dict[str, Any]]] = [(1, 0.0, "created", None, {"resolved": {}})]
    happened += [proposed(f"t{n}") for n in range(6)]
    for epoch in range(2, 6):
        hours += draw.random() * 10
        began, running = hours, {}
        happened.append((epoch, hours, "driver", None, {"did": "started"}))
        for _ in range(draw.randrange(12)):
            hours += draw.random()
            trial_id = f"t{draw.randrange(6)}"
            if trial_id in running:
                expected["gpu"] += (hours - running.pop(trial_id)) * 2
                happened.append((epoch, hours, "lost", trial_id, LOST))
            else:
                running[trial_id] = hours
                happened.append((epoch, hours, "started", trial_id, GPUS))
        expected["wall"] += hours - began
        expected["gpu"] += sum(hours - since for since in running.values()) * 2
    found = {one.name: one.used for one in uses(Budget(wall_hours=1, gpu_hours=1), state(*happened))}
    assert found == pytest.approx({"wall_hours": expected["wall"], "gpu_hours": expected["gpu"]})


@pytest.fixture
def log(tmp_path: Path) -> Iterator[SweepLog]:
    made = SweepLog.open(FolderStorage(tmp_path))
    made.append("created", name="s", resolved={})
    made.append("driver", did="started")
    yield made
    made.close()


def queue_of(log: SweepLog, budget: Budget, now: list[float]) -> TrialQueue:
    specs = [TrialSpec(trial_id=name, family="f" if name < "d" else "g", seed=3) for name in "abcdef"]
    return TrialQueue(Attempts(log), DesignProposer(specs, log.state), lambda: admitted(budget, log.state, now[0]))


def test_no_more_trials_begin_than_the_budget_has_and_those_are_finished(log: SweepLog) -> None:
    """Also where they wait for room, and before Tune has said that they run."""
    queue = queue_of(log, Budget(trials=4), [0.0])
    assert queue.left() == {"f": 3, "g": 1}
    assert queue.next(lambda spec: False, ahead=9) is None
    assert sorted(log.state.trials) == ["a", "b", "c", "d"]
    jobs = [queue.next() for _ in range(5)]
    assert [job and job.spec.trial_id for job in jobs] == ["a", "b", "c", "d", None]
    assert (queue.left(), queue.finished) == ({}, False)
    for job in jobs[:4]:
        assert job is not None
        queue.start(job)
    queue.end("a", Outcome(state="failed", reason="process lost", error="gone"))
    assert queue.left() == {"f": 1}
    again = queue.next()
    assert again is not None
    queue.start(again)
    for name in "abcd":
        assert not queue.finished
        queue.end(name, DONE)
    assert queue.finished
    assert queue_of(log, Budget(trials=4), [0.0]).finished
    assert queue_of(log, Budget(trials=5), [0.0]).left() == {"g": 1}


def test_hours_that_are_used_up_end_a_sweep_once_what_runs_has_ended(log: SweepLog) -> None:
    now = [log.state.time]
    queue = queue_of(log, Budget(wall_hours=2), now)
    job = queue.next()
    assert job is not None
    queue.start(job, cpus=1.0)
    assert queue.next(lambda spec: False) is None  # b waits for room
    now[0] += 3 * HOUR
    assert queue.next() is None
    assert (queue.left(), queue.finished) == ({}, False)
    queue.end("a", DONE)
    assert queue.finished
