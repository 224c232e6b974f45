"""What a sweep does now: phases, times left, what waits for what, savings, fronts."""

import pytest

from omsweep.results.progress import Driver, progress_of
from omsweep.results.running import fronts, paces

ALIVE = Driver(name="process 7 on a")
TOOK = {"start": 3.0, "pilot": 1.0, "train": 20.0, "evaluate": 5.0}


def propose(sweep, name, *, family="tiny-llama", steps=100, **fields):
    sweep.happened("proposed", name, trial={"family": family, "label": "adamw", "params": {"steps": steps}, **fields})


def begin(sweep, name, **fields):
    propose(sweep, name, **fields)
    sweep.happened("started", name, attempt=1)


def working(sweep, after=0.0):
    state = sweep.state()
    return {one.trial_id: one for one in progress_of(state, ALIVE, now=state.time + after).at_work}


@pytest.fixture
def sweep(folder, make_space, make_trial):
    """One trial has ended: 4 s to start, 0.2 s a step, 5 s to score."""
    folder.create(make_space(budget={"trials": 5}))
    folder.append(make_trial("done", steps=100, seconds=TOOK))
    return folder


def test_phases_and_time_left(sweep):
    begin(sweep, "a", rungs=[(0, 50, None), (1, 80, None)])
    assert (one := working(sweep, after=1.0)["a"]).phase == "starting"
    assert (one.step, one.steps, one.loss, one.seconds) == (0, 100, None, 1.0)
    assert one.seconds_left == pytest.approx(3.0 + 20.0 + 5.0)
    assert working(sweep, after=60.0)["a"].seconds_left == pytest.approx(25.0), "the start took longer than others'"
    sweep.happened("progress", "a", attempt=1, first_step=1, losses=[0.7, 0.6])
    one = working(sweep)["a"]
    assert (one.phase, one.step, one.loss, one.seconds_left) == ("training", 2, 0.6, pytest.approx(19.6 + 5.0))
    sweep.happened("progress", "a", attempt=1, first_step=3, losses=[0.5] * 48)
    assert working(sweep)["a"].phase == "scoring at a rung"
    scores = {"reward": 0.1, "tax": 0.2, "reward_noise": [], "tax_noise": []}
    sweep.happened("rung", "a", attempt=1, level=0, step=50, decision="go on", **scores)
    assert working(sweep)["a"].phase == "training"
    sweep.happened("rung", "a", attempt=1, level=1, step=80, decision="pause", **scores)
    assert (working(sweep)["a"].phase, working(sweep)["a"].seconds_left) == ("paused at a rung", None)
    sweep.happened("rung", "a", attempt=1, level=1, decision="go on")
    sweep.happened("trained", "a", attempt=1, outcome={"state": "completed"})
    one = working(sweep, after=2.0)["a"]
    assert (one.phase, one.step, one.seconds_left) == ("scoring", 100, pytest.approx(3.0))
    assert working(sweep, after=9.0)["a"].seconds_left == 0.0


def test_of_a_family_of_which_none_has_ended_no_time_is_known(sweep):
    begin(sweep, "b", family="tiny-qwen2")
    assert working(sweep)["b"].seconds_left is None
    assert progress_of(sweep.state(), ALIVE).seconds_left is None


def test_a_later_attempt_starts_anew(sweep):
    begin(sweep, "a")
    sweep.happened("progress", "a", attempt=1, first_step=1, losses=[0.7])
    sweep.happened("lost", "a", attempt=1, reason="process lost", error="killed")
    assert not working(sweep)
    sweep.happened("started", "a", attempt=2)
    one = working(sweep)["a"]
    assert (one.phase, one.attempt, one.step, one.loss) == ("starting", 2, 1, 0.7)


def test_merged_points_have_no_steps(sweep, make_trial):
    sweep.append(make_trial("done+line-0", kind="posthoc", parent="done", seconds={"merge": 1.0, "evaluate": 3.0}))
    begin(sweep, "done+line-1", kind="posthoc", parent="done")
    one = working(sweep, after=1.0)["done+line-1"]
    assert (one.phase, one.step, one.steps, one.seconds_left) == ("merging", None, None, pytest.approx(3.0))


def test_the_last_trials_tell_the_pace(sweep, make_trial):
    for number in range(20):
        sweep.append(make_trial(f"slow-{number}", steps=10, seconds={"train": 10.0 + number}))
    pace = paces(sweep.state())["tiny-llama"]
    assert (pace.step, pace.start, pace.score) == (1.95, 4.0, 5.0)


def waits(sweep, driver=ALIVE):
    return {one.why: (one.count, list(one.trial_ids)) for one in progress_of(sweep.state(), driver).waits}


def test_what_waits_for_what(sweep):
    begin(sweep, "a")
    for name in ("b", "c", "d", "e"):
        propose(sweep, name)
    sweep.happened("started", "b", attempt=1)
    sweep.happened("lost", "b", attempt=1, reason="hung", error="hung")
    scores = {"reward": 0.1, "tax": 0.2, "reward_noise": [], "tax_noise": []}
    sweep.happened("started", "c", attempt=1)
    sweep.happened("rung", "c", attempt=1, level=0, step=50, decision="pause", **scores)
    sweep.happened("paused", "c", attempt=1)
    sweep.happened("started", "d", attempt=1)
    sweep.happened("trained", "d", attempt=1, outcome={"state": "completed"})
    sweep.happened("paused", "d", attempt=1)
    expected = {
        "to be tried again (hung)": (1, ["b"]),
        "at a rung, to be among the best there": (1, ["c"]),
        "for workers that score": (1, ["d"]),
        "for room": (1, ["e"]),
        "for their turn": (12, []),
    }
    assert waits(sweep) == expected
    gone = waits(sweep, driver=None)
    assert gone.pop("for a driver that goes on with them") == (1, ["a"])
    assert gone == expected
    propose(sweep, "f")
    sweep.happened("started", "f", attempt=1)
    del expected["for room"], expected["for their turn"]
    assert waits(sweep) == expected | {"for a larger budget": (12, ["e"])}, "budget.trials: 5 were begun"


def test_savings_by_stopping(sweep, make_trial):
    assert progress_of(sweep.state()).savings is None
    for name, steps in (("x", 25), ("y", 50)):
        sweep.append(make_trial(name, state="stopped", steps=steps, params={"steps": 100}))
    sweep.append(make_trial("z", steps=100, params={"steps": 100}))
    saved = progress_of(sweep.state()).savings
    assert (saved.trials, saved.steps, saved.steps_planned) == (2, 125, 300)
    assert saved.seconds == pytest.approx(125 * 0.2)


def test_time_left_of_the_sweep_counts_what_waits(sweep):
    begin(sweep, "a")
    left = progress_of(sweep.state(), ALIVE)
    assert left.waiting == 16
    assert left.seconds_left == pytest.approx(29.0 + 16 * 29.0)


def test_fronts_are_those_of_the_state(demo):
    state = demo.state()
    for front in fronts(state):
        assert [one.trial_id for one in front.members] == [one.trial_id for one in state.fronts[front.family]]
        assert front.hypervolume == state.hypervolumes()[front.family]
        assert len(front.members) + len(front.others) == 9
