"""Importance of knobs where one is known to matter."""

import random

import pytest

from omsweep.results.answers.importance import NEEDED, importances_of, ranks
from omsweep.results.objectives import Objectives
from omsweep.results.progress import space_of
from omsweep.results.view import read_view


def search(folder, make_trial, make_space, trials):
    """Reward follows from the learning rate alone, tax from ondare's density, beta does nothing."""
    space = make_space(families=["tiny-llama"], mode="search", search={"algorithm": "random", "trials": trials})
    del space["design"]
    space["space"] |= {"algorithm": "dpo", "beta": {"uniform": [0.05, 0.2]}}
    space["space"]["method"] = {
        "adamw": {},
        "ondare": {"semantics": "equations", "alpha": 1e-3, "density": {"uniform": [0.2, 1.0]}},
    }
    folder.create(space)
    rng = random.Random(0)
    for i in range(trials):
        label = ("adamw", "ondare")[i % 2]
        params = {"learning_rate": 10 ** rng.uniform(-3.52, -3.0), "beta": rng.uniform(0.05, 0.2)}
        params |= {"density": rng.uniform(0.2, 1.0)} if label == "ondare" else {}
        tax = 5 - 4 * params.get("density", 0.5) + 0.01 * rng.random()
        folder.append(make_trial(f"t{i}", label=label, reward=1e3 * params["learning_rate"], tax=tax, params=params))
    return read_view(folder), space_of(folder.state())


def test_a_knob_that_decides_is_found_and_others_are_not(folder, make_trial, make_space):
    found = importances_of(*search(folder, make_trial, make_space, 60)[:1], "tiny-llama", space_of(folder.state()))
    best = {}
    for one in found.knobs:
        best.setdefault(one.target, one)
    assert (best["reward"].knob, best["reward"].shown) == ("learning_rate", True)
    assert best["reward"].share > 0.5
    assert best["tax"].knob == "method.ondare.density"
    assert not any(one.shown for one in found.knobs if one.knob == "beta")
    assert {one.target for one in found.knobs} == {"reward", "tax", "front"}


def test_too_few_trials_say_how_many_are_needed(folder, make_trial, make_space):
    view, space = search(folder, make_trial, make_space, NEEDED - 1)
    found = importances_of(view, "tiny-llama", space)
    assert (found.trials, list(found.knobs)) == (NEEDED - 1, [])
    assert found.missing == "needs 30 trained trials that have both objectives, tiny-llama has 29"


def test_ranks_of_the_front_take_front_after_front(make_trial):
    points = {"a": (1.0, 1.0), "b": (0.9, 2.0), "c": (2.0, 3.0), "d": (0.1, 9.0)}
    trials = [make_trial(name, reward=reward, tax=tax) for name, (reward, tax) in points.items()]
    found = ranks(trials, Objectives())
    assert found["reward"].tolist() == [1, 2, 0, 3]
    assert found["tax"].tolist() == [0, 1, 2, 3]
    assert found["front"].tolist() == [1, 2, 0, 3]  # c adds 17, a adds 2 to the first front


def test_a_space_that_cannot_be_read(demo):
    found = importances_of(read_view(demo), "tiny-llama", None)
    assert found.missing == "this omsweep cannot read the search space"


@pytest.mark.parametrize("family", ["tiny-llama"])
def test_few_trials_of_a_design(demo, family):
    found = importances_of(read_view(demo), family, space_of(demo.state()))
    assert found.missing is not None
