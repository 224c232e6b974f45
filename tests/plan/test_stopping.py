"""Decisions follow from the log alone, whatever trials are called; some are never stopped; a rung that tells nothing
stops nobody; paused trials go on when it is their turn."""

import random
from collections.abc import Mapping
from typing import Any

import pytest

from omsweep.plan.stopping import Correlation, Stopping, items_at, rungs_of
from omsweep.space.build import build_space
from omsweep.space.knobs import SpaceError
from omsweep.space.schema import Scheduler
from omsweep.space.search_space import SearchSpace
from omsweep.store.events import Event, decode, encode
from omsweep.store.state import Rung, SweepState, apply, fold

FAMILY = "tiny-llama"


def space_with(search: dict[str, Any], **scheduler: Any) -> SearchSpace:
    return build_space({**search, "scheduler": {"algorithm": "moasha", "never_stop": 0, "eta": 3, **scheduler}})


def rung(tax: float, reward: float, level: int = 0, error: float = 0.01) -> Rung:
    return Rung(level, 8, reward, tax, (error, -error), (error, 0.0))


class Sweep:
    """A log in memory; what was decided is appended as the engine does it."""

    def __init__(self, space: SearchSpace) -> None:
        self.space, self.events, self.state = space, list[Event](), SweepState()
        self.stopping = Stopping(space, self.state)

    def append(self, kind: str, trial_id: str, **data: Any) -> None:
        seq = len(self.events) + 1
        line = encode(Event(seq, 1, float(seq), kind, trial_id, 1, data))
        self.events.append(decode(line.strip()))
        self.state = apply(self.state, self.events[-1])

    def arrive(self, trial_id: str, one: Rung) -> str:
        if trial_id not in self.state.trials:
            self.append("proposed", trial_id, trial={"family": FAMILY})
        decision = self.stopping.decide(trial_id, FAMILY, one)
        self.append("rung", trial_id, **one._replace(decision=decision.verdict, why=decision.why).to_json())
        return decision.verdict

    def end(self, trial_id: str, outcome: Mapping[str, Any]) -> None:
        self.append("ended", trial_id, outcome=outcome)
        self.stopping.tell(trial_id, outcome)


def test_rungs_lie_below_the_end_at_steps_that_merge() -> None:
    rule = Scheduler(algorithm="moasha", first_rung=4, eta=3)
    assert rungs_of(rule, 100) == ((0, 4), (1, 12), (2, 36))
    assert rungs_of(rule, 36) == ((0, 4), (1, 12))
    assert rungs_of(rule, 100, gap_steps=8) == ((0, 8), (1, 16), (2, 40))
    assert rungs_of(rule, 100, gap_steps=16) == ((1, 16), (2, 48))
    assert rungs_of(rule, 40, gap_steps=50) == ()
    assert rungs_of(Scheduler(), 100) == ()


def test_items_grow_by_eta_up_to_the_limit() -> None:
    rule = Scheduler(algorithm="moasha", items=16, eta=4)
    assert [items_at(rule, level, None) for level in range(3)] == [16, 64, 256]
    assert [items_at(rule, level, 100) for level in range(3)] == [16, 64, 100]
    assert items_at(Scheduler(algorithm="moasha", items=None), 0, 100) == 100


def test_only_what_is_outside_the_best_and_beaten_beyond_noise_is_stopped(search: dict[str, Any]) -> None:
    sweep = Sweep(space_with(search, eta=3))
    assert sweep.arrive("a", rung(1.0, 1.0)) == "go on"
    assert sweep.arrive("b", rung(2.0, 0.5)) == "stop"
    assert sweep.arrive("c", rung(1.005, 0.995, error=-0.01)) == "go on"  # worse by less than noise
    assert sweep.arrive("d", rung(0.5, 0.5)) == "go on"  # a trade-off
    assert sweep.arrive("e", rung(9.0, 0.9)) == "stop"
    assert sweep.arrive("f", rung(-1.0, 0.001)) == "stop"  # a low tax alone
    assert "reward by 0.999" in sweep.state.trials["f"].rungs[0].why


@pytest.mark.parametrize(("algorithm", "variant"), [("moasha", "stop"), ("moasha", "promote"), ("median", "stop")])
def test_the_same_prefix_gives_the_same_decisions_whatever_trials_are_called(
    search: dict[str, Any], algorithm: str, variant: str
) -> None:
    """After every event in another process, and under other names; nothing is drawn from a stream."""
    space = space_with(search, algorithm=algorithm, variant=variant, first_rung=4)
    draw = random.Random(3)
    sweep, renamed = Sweep(space), Sweep(space)
    names = [f"x{number}" for number in range(40)]
    draw.shuffle(names)
    verdicts = []
    for number, name in enumerate(names):
        one = rung(draw.uniform(-1, 8), draw.uniform(-0.2, 1), error=draw.uniform(0, 0.3))
        again = Stopping(space, fold(sweep.events))
        verdicts.append(sweep.arrive(f"t{number}", one))
        assert renamed.arrive(name, one) == verdicts[-1]
        assert again.decide(f"t{number}", FAMILY, one) == sweep.stopping.decide(f"t{number}", FAMILY, one)
        sweep.end(f"t{number}", {"state": "completed", "reward": one.reward, "tax": one.tax})
    assert len(set(verdicts)) == 2


def test_a_trial_that_comes_again_is_told_what_was_decided(search: dict[str, Any]) -> None:
    sweep = Sweep(space_with(search))
    sweep.arrive("a", rung(1.0, 1.0))
    sweep.arrive("b", rung(2.0, 0.5))
    again = Stopping(sweep.space, sweep.state)
    assert again.decide("b", FAMILY, rung(0.0, 9.0)).stop
    assert len(sweep.state.trials["b"].rungs) == 1


def test_families_and_levels_are_apart(search: dict[str, Any]) -> None:
    stopping = Stopping(space_with(search))
    stopping.decide("a", FAMILY, rung(1.0, 1.0))
    assert not stopping.decide("b", "other", rung(2.0, 0.5)).stop
    assert not stopping.decide("c", FAMILY, rung(2.0, 0.5, level=1)).stop
    assert stopping.decide("d", FAMILY, rung(2.0, 0.5)).stop


def test_scores_that_are_no_numbers_stop_nobody(search: dict[str, Any]) -> None:
    sweep = Sweep(space_with(search))
    assert sweep.arrive("a", rung(float("nan"), 1.0)) == "go on"
    assert Stopping(sweep.space, sweep.state).decide("b", FAMILY, rung(2.0, 0.5)).verdict == "go on"


def test_a_share_drawn_by_hash_is_never_stopped(search: dict[str, Any]) -> None:
    stopping = Stopping(space_with(search, never_stop=0.2))
    stopping.decide("best", FAMILY, rung(0.0, 1.0))
    kept = {n for n in range(1000) if not stopping.decide(f"t{n}", FAMILY, rung(5.0, 0.5)).stop}
    assert 150 < len(kept) < 250
    other = Stopping(build_space({**search, "search": {"trials": 30, "seed": 9}, "scheduler": {
        "algorithm": "moasha", "never_stop": 0.2}}))  # fmt: skip
    other.decide("best", FAMILY, rung(0.0, 1.0))
    assert kept != {n for n in range(1000) if not other.decide(f"t{n}", FAMILY, rung(5.0, 0.5)).stop}


@pytest.mark.parametrize(("sign", "off"), [(1, False), (-1, True)])
def test_a_rung_that_tells_nothing_of_the_end_stops_nobody(search: dict[str, Any], sign: int, off: bool) -> None:
    """Trials that are never stopped end in the rung's order, or in the reverse of it."""
    sweep = Sweep(space_with(search, never_stop=0.2, min_trials=10))
    number, ended, off_at = 0, 0, None
    while ended < 12:
        reward = 0.5 + number / 1000
        verdict = sweep.arrive(f"t{number}", rung(5.0, reward))
        if "never stopped" in sweep.state.trials[f"t{number}"].rungs[0].why:
            sweep.end(f"t{number}", {"state": "completed", "reward": 5 + sign * reward, "tax": 0.0})
            ended += 1
            off_at = ended if off_at is None and sweep.stopping.is_off(FAMILY, 0) else off_at
        assert verdict == "go on"
        number += 1
    assert off_at == (10 if off else None)
    assert sweep.stopping.correlation(FAMILY, 0) == Correlation(pytest.approx(sign), 12)
    sweep.arrive("best", rung(0.0, 9.0))
    last = next(
        name for n in range(99) if "never" not in Stopping(sweep.space).decide(name := f"z{n}", FAMILY, rung(0, 1)).why
    )
    assert sweep.arrive(last, rung(9.0, 0.4)) == ("go on" if off else "stop")
    assert ("stopping is off" in sweep.state.trials[last].rungs[0].why) == off


def test_a_paused_trial_goes_on_when_it_is_among_the_best(search: dict[str, Any]) -> None:
    sweep = Sweep(space_with(search, variant="promote", eta=2))
    assert sweep.arrive("a", rung(1.0, 1.0)) == "pause"
    assert sweep.stopping.resume(FAMILY, more=True) is None
    assert sweep.arrive("b", rung(2.0, 0.5)) == "pause"
    again = Stopping(sweep.space, sweep.state)
    for stopping in (again, sweep.stopping):
        resumed = stopping.resume(FAMILY, more=True)
        assert resumed is not None
        assert (resumed.trial_id, resumed.level) == ("a", 0)
        assert stopping.resume(FAMILY, more=True) is None
    sweep.append("rung", "a", level=0, decision="go on", why=resumed.why)
    assert [(one.decision, one.arrived) for one in sweep.state.trials["a"].rungs] == [("go on", 2)]
    assert Stopping(sweep.space, sweep.state).resume(FAMILY, more=True) is None
    assert sweep.stopping.resume(FAMILY, more=False) is None  # b is beaten beyond noise
    assert sweep.arrive("c", rung(0.5, 0.6)) == "pause"
    resumed = sweep.stopping.resume(FAMILY, more=False)
    assert resumed is not None
    assert resumed.trial_id == "c"  # a trade-off, once no trial is left to start
    sweep.end("c", {"state": "stopped"})
    assert Stopping(sweep.space, sweep.state).resume(FAMILY, more=False) is None


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"algorithm": "none", "eta": 2}, "scheduler.eta: needs scheduler.algorithm"),
        ({"first_rung": 100}, "scheduler.first_rung: must be below train.steps, 100, got 100"),
        ({"algorithm": "median", "variant": "promote"}, "scheduler.variant: promote is of moasha"),
    ],
)
def test_settings_that_do_nothing_are_refused(search: dict[str, Any], changes: dict[str, Any], said: str) -> None:
    with pytest.raises(SpaceError, match=said):
        build_space({**search, "scheduler": {"algorithm": "moasha", **changes}})


def test_a_comparison_stops_nobody(compare: dict[str, Any], search: dict[str, Any]) -> None:
    with pytest.raises(SpaceError, match="scheduler.algorithm: moasha is of mode search"):
        build_space({**compare, "scheduler": {"algorithm": "moasha"}})
    with pytest.raises(SpaceError, match=r"objectives.tax: must be tax"):
        build_space({**search, "scheduler": {"algorithm": "moasha"}, "objectives": {"tax": "tax_worst"}})
    assert build_space(compare).resolved()["scheduler"] == {"algorithm": "none"}
    assert space_with(search).resolved()["scheduler"]["eta"] == 3
