"""Virtual time adds up, slots are used, and the rule and the proposer are told what a real sweep tells them."""

from collections.abc import Mapping
from typing import Any

import pytest

from omsweep.plan.optuna import StudyProposer
from omsweep.plan.proposer import DesignProposer
from omsweep.plan.simulate import Ended, Recorded, simulate
from omsweep.plan.stopping import Stopping
from omsweep.space.build import build_space
from omsweep.store.records import TrialSpec
from omsweep.store.state import Rung, SweepState
from tests.benchmark_scripts import benchmark_script

REWARDS = (1.0, 0.2, 0.9, 0.1)
"""Of four trials, from the first rung on; whoever has less pays more tax, so that one beats all."""


def recorded(spec: TrialSpec) -> Recorded:
    """Steps of a second, rungs of half, an end of two."""
    reward = REWARDS[int(spec.trial_id[1:])]
    at = {step: (Rung(0, step, reward, 5 - 5 * reward, (0.01,), (0.01,)), 0.5) for step in (8, 24, 72)}
    return Recorded(rungs=at, end={"reward": reward, "tax": 5 - 5 * reward}, step_seconds=1.0, score_seconds=2.0)


def specs() -> list[TrialSpec]:
    return [
        TrialSpec(trial_id=f"t{number}", family="tiny-llama", params={"steps": 100}) for number in range(len(REWARDS))
    ]


def swept(search: dict[str, Any], slots: int = 1, **scheduler: Any) -> list[Ended]:
    space = build_space(
        {**search, "scheduler": {"algorithm": "moasha", "never_stop": 0, "first_rung": 8, "eta": 3, **scheduler}}
    )
    rule = Stopping(space) if scheduler else None
    proposer = DesignProposer(specs(), SweepState())
    return simulate(
        proposer, recorded, scheduler=space.file.scheduler, rule=rule, slots=slots, start_seconds=3.0
    )  # fmt: skip


def told(ends: list[Ended]) -> list[tuple[float, str, str]]:
    return [(one.seconds, one.spec.trial_id, one.state) for one in ends]


def test_without_a_rule_nothing_but_training_and_the_end_takes_time(search: dict[str, Any]) -> None:
    assert told(swept(search)) == [(105.0 * n, f"t{n - 1}", "completed") for n in (1, 2, 3, 4)]
    assert told(swept(search, slots=2))[-1] == (210.0, "t3", "completed")
    assert told(swept(search, slots=9))[-1] == (105.0, "t3", "completed")


def test_stopped_trials_leave_their_slot(search: dict[str, Any]) -> None:
    ends = swept(search, variant="stop")
    assert told(ends) == [
        (106.5, "t0", "completed"),  # start, 100 steps, three rungs, the end
        (118.0, "t1", "stopped"),
        (129.5, "t2", "stopped"),
        (141.0, "t3", "stopped"),
    ]
    assert ends[1].outcome == {"state": "stopped"}


def test_paused_trials_wait_and_the_rest_are_stopped_in_the_end(search: dict[str, Any]) -> None:
    ends = swept(search, variant="promote")
    assert sorted((one.spec.trial_id, one.state) for one in ends) == [
        ("t0", "completed"),
        ("t1", "stopped"),
        ("t2", "stopped"),
        ("t3", "stopped"),
    ]


@pytest.mark.parametrize("slots", [1, 3])
def test_a_real_search_runs_to_its_end_the_same_twice(search: dict[str, Any], slots: int) -> None:
    def once() -> list[tuple[float, str, str]]:
        space = build_space({**search, "scheduler": {"algorithm": "moasha", "first_rung": 8, "eta": 3}})
        return told(simulate(StudyProposer(space), made_up, scheduler=space.file.scheduler, rule=Stopping(space),
                             slots=slots))  # fmt: skip

    ends = once()
    assert len(ends) == 30
    assert {state for *_, state in ends} == {"completed", "stopped"}
    assert ends == once()


def made_up(spec: TrialSpec) -> Recorded:
    """Reward grows with the learning rate up to 6e-4, tax all the way."""
    rate = spec.params["learning_rate"] / 1e-3
    end: Mapping[str, Any] = {"reward": 1 - (rate - 0.6) ** 2, "tax": 3 * rate}
    rung = Rung(0, 0, end["reward"], end["tax"], (0.001,), (0.001,))
    return Recorded(rungs=dict.fromkeys((8, 24, 72), (rung, 1.0)), end=end, step_seconds=0.1, score_seconds=1.0)


def test_what_was_recorded_is_replayed() -> None:
    """One seed of the benchmark: rules and searches end all trials, and what cannot stop keeps the whole front."""
    script = benchmark_script("stopping_simulated")
    recording = script.Recording(script.DATA)
    assert len(recording.specs) == len(recording.curves) > 20
    options = script.parser().parse_args(["--trials", "20"])
    found = script.searched(recording, options, seed=1)
    assert found.keys() == script.ARMS.keys()
    plain, stopped = found["no stopping"], found["MO-ASHA, stop"]
    assert (plain.seconds, plain.final, plain.stopped, plain.lost[0]) == (1.0, 1.0, 0.0, 0)
    assert 0 < stopped.stopped < 1
    assert stopped.seconds < 1.1
