"""Every check: a sweep it warns of, and one it does not."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from omsweep.results.answers.gains import Gain
from omsweep.results.answers.health import CHECKS, Patient, ends_of, findings_of, place_in
from omsweep.results.progress import space_of
from omsweep.results.view import read_view
from omsweep.space.knobs import Choice, Integer, Interval


@pytest.fixture
def patient(folder, make_trial, make_space):
    """A family of trials given as changes of an ordinary one, each with a front of its own making."""

    def made(trials, *, records=(), gains=(), **space):
        folder.create(make_space(**({"families": ["tiny-llama"]} | space)))
        folder.happened("prepared", family="tiny-llama", sft_seed=None, reference={}, models={"records": list(records)})
        for i, changes in enumerate(trials):
            params = {"learning_rate": 5e-4, "beta": 0.1} | changes.pop("params", {})
            usual = {"reward": 0.1 * (i + 1), "tax": 1.0 * (i + 1), "reward_se_items": 0.01, "tax_se_items": 0.1}
            folder.append(make_trial(f"t{i}", params=params, **(usual | changes)))
        view, state = read_view(folder), folder.state()
        mine = [trial for trial in view.trials if trial.family == "tiny-llama"]
        return Patient(family="tiny-llama", view=view, trials=mine, state=state, space=space_of(state), gains=gains)

    return made


@pytest.mark.parametrize(
    ("rates", "said"),
    [
        ([9.9e-4, 9.8e-4, 1e-3], "learning_rate, whose range [3e−4, 0.001] could reach higher"),  # noqa: RUF001
        ([3e-4, 3.1e-4, 9e-4], "learning_rate, whose range [3e−4, 0.001] could reach further down"),  # noqa: RUF001
        ([5e-4, 6e-4, 7e-4], None),
        ([1e-3, 1e-3], None),
    ],
    ids=["high", "low", "inside", "too few"],
)
def test_the_edge_of_a_range(patient, rates, said):
    found = CHECKS["range edge"](patient([{"params": {"learning_rate": rate}} for rate in rates]))
    assert (found is None) == (said is None)
    assert said is None or said in found


def test_a_range_that_ends_by_nature_has_no_edge(patient):
    method = {"ondare": {"semantics": "equations", "alpha": 1e-3, "density": {"uniform": [0.2, 1.0]}}}
    space = {"algorithm": "dpo", "learning_rate": 5e-4, "beta": 0.1, "method": method}
    trials = [{"label": "ondare", "params": {"density": 1.0}} for _ in range(3)]
    assert CHECKS["range edge"](patient(trials, space=space)) is None


def test_no_gain(patient):
    some = Gain(over="the SFT model", members=["a"], beyond=["a"], split="search", looked_at=1, said="")
    well = patient([{}], gains=[some])
    assert CHECKS["no gain"](well) is None
    none = [replace(some, over=over, beyond=[]) for over in ("AdamW", "interpolation")]
    assert CHECKS["no gain"](replace(well, gains=[some, *none])) == (
        "No gain over AdamW or interpolation beyond the noise of items."
    )


def test_lost_trials_and_the_knob_that_goes_with_them(patient):
    lost = {"state": "diverged", "reward": None, "tax": None}
    trials = [{"params": {"learning_rate": 4e-4 + 1e-5 * i}} for i in range(12)]
    trials += [{**lost, "params": {"learning_rate": 9e-4 + 1e-5 * i}} for i in range(5)]
    found = CHECKS["lost trials"](patient(trials))
    assert found == "5 of 17 trials left no scores (5 diverged), most of them with a high learning_rate."


def test_few_lost_trials_are_no_finding(patient):
    trials = [{} for _ in range(30)] + [{"state": "failed", "reward": None, "tax": None}]
    assert CHECKS["lost trials"](patient(trials)) is None


@pytest.mark.parametrize(
    ("ratios", "rewards", "said"),
    [
        ([1.1 + 0.2 * i for i in range(9)], [0.1 * (i + 1) for i in range(9)], "rank correlation 1.00"),
        ([2.0] * 3, [0.1, 0.2, 0.3], "see whether the reward is for length"),
        ([1.05] * 9, [0.1 * (i + 1) for i in range(9)], None),
        ([2.5 - 0.1 * i for i in range(9)], [0.1 * (i + 1) for i in range(9)], None),
    ],
    ids=["rises with length", "few trials", "as long", "falls with length"],
)
def test_reward_bought_by_length(patient, ratios, rewards, said):
    trials = [{"length_ratio": ratio, "reward": reward} for ratio, reward in zip(ratios, rewards, strict=True)]
    found = CHECKS["length"](patient(trials))
    assert (found is None) == (said is None)
    assert said is None or said in found


def test_dropped_and_changed_records(patient):
    record = {"source": "preferences mine", "records": 100, "dropped": {"equal answers": 7}, "notes": {"cut off": 3}}
    assert CHECKS["data"](patient([{}], records=[record])) == (
        "preferences mine: of 100 records 7 dropped: equal answers, 3 cut off."
    )


def test_nothing_dropped(patient):
    record = {"source": "preferences mine", "records": 100, "dropped": {}, "notes": {}}
    assert CHECKS["data"](patient([{}], records=[record])) is None


def test_inactive_merges(patient):
    trials = [{"label": "onties", "merge_active": active} for active in (False, False, True)]
    trials += [{"label": "ondare", "merge_active": True}, {"merge_active": False}]  # AdamW merges nothing
    assert "onties (2 of 3 runs)" in CHECKS["merging"](patient(trials))


@pytest.mark.parametrize(("error", "said"), [(0.5, "0.20 in reward, less than 1.39"), (0.01, None)])
def test_a_front_within_noise(patient, error, said):
    found = CHECKS["noise"](patient([{"reward_se_items": error} for _ in range(3)]))
    assert (found is None) == (said is None)
    assert said is None or said in found


def test_stopping_that_switched_itself_off(patient, folder):
    sick = patient([{}])
    assert CHECKS["stopping"](sick) is None
    rung = {"level": 1, "step": 50, "reward": 0.1, "tax": 0.0, "reward_noise": [0.1], "tax_noise": [0.1]}
    folder.happened("rung", "t0", 1, **rung, decision="go on", why="stopping is off at this rung: its order ...")
    assert "off at rung 1" in CHECKS["stopping"](replace(sick, state=folder.state()))


def test_one_seed(patient):
    assert "(design.seeds)" in CHECKS["seeds"](patient([{}]))


def test_a_healthy_family_has_no_findings(patient):
    trials = [{"seed": seed, "params": {"learning_rate": 5e-4 + 5e-5 * i}} for i in range(3) for seed in (0, 1)]
    assert findings_of(patient(trials)) == []


@pytest.mark.parametrize(
    ("value", "knob", "place"),
    [
        (1.0, Interval(0.0, 4.0, log=False), 0.25),
        (1e-2, Interval(1e-3, 1e-1, log=True), 0.5),
        (3, Integer(1, 5), 0.5),
        (0.2, Choice((0.05, 0.1, 0.2)), 1.0),
        (0.1, Choice((0.05, 0.1)), None),
        ("kto", Choice(("dpo", "ipo", "kto")), None),
        (True, Choice((True, False, None)), None),
    ],
)
def test_where_a_value_lies(value, knob, place):
    assert place_in(value, knob) == (None if place is None else pytest.approx(place))
    assert (ends_of(knob) is None) == (place is None)


def test_the_documentation_lists_every_check():
    page = (Path(__file__).parents[3] / "docs" / "report.md").read_text()
    table = page.partition("## What to beware of")[2].partition("##")[0]
    assert re.findall(r"^\| ([a-z ]+) \|", table, flags=re.MULTILINE)[1:] == list(CHECKS)


def test_over_optimisation_is_a_reward_that_fell_beyond_noise(patient):
    fell = {"rewards": {"liked": -8.0, "liked_se_items": 2.0, "size": 5.0, "size_se_items": 1.0}, "kl": 30.0}
    said = CHECKS["over optimisation"](patient([dict(fell) for _ in range(3)]))
    assert said is not None
    assert said.startswith("liked fell beyond noise in 3 of the front's 3 members (median −8.00)")  # noqa: RUF001
    assert "KL of 30.0 nats" in said
    assert "size" not in said


def test_within_noise_nothing_is_over_optimised(patient):
    near = {"rewards": {"liked": -3.0, "liked_se_items": 2.0}}
    assert CHECKS["over optimisation"](patient([dict(near) for _ in range(3)] + [{}])) is None


@pytest.mark.parametrize(("even", "gone"), [(1.0, True), (9.0, False)])
def test_a_gain_that_is_gone_at_equal_length(patient, even, gone):
    told = {"liked": 12.0, "liked_se_items": 2.0, "liked_length_controlled": even, "liked_length_controlled_se": 2.0}
    said = CHECKS["equal length"](patient([{"rewards": told}]))
    assert said == (
        "Bought by length, no gain is left at equal length: t0 (liked: 12.00, at equal length 1.00 points)."
        if gone
        else None
    )


@pytest.mark.parametrize(("ended", "worse"), [(0.99, False), (0.6, True)])
def test_answers_that_no_longer_end(patient, ended, worse):
    trials = [{"finished_rate": ended, "distinct_2": 0.5, "refusal_rate": 0.0}]
    found = patient(trials)
    reference = {"finished_rate": 1.0, "distinct_2": 0.5, "refusal_rate": 0.0}
    found = replace(found, view=replace(found.view, references={"tiny-llama": reference}))
    said = CHECKS["answers"](found)
    assert said == (
        "The front's answers against the SFT model's: answers that end 100 -> 60 % (medians)." if worse else None
    )
