"""What to take: closed forms on a few trials."""

import pytest

from omsweep.results.answers.picks import WINNERS_CURSE, best_within, choice_of, chosen, knee_of, tax_limits
from omsweep.results.view import read_view

BENT = {"a": (0.1, 0.2), "b": (0.9, 1.0), "c": (1.0, 9.0), "beaten": (0.5, 2.0)}
"""(reward, tax) of a front with its knee at b, and of one that is not on it."""


@pytest.fixture
def viewed(folder, make_trial, make_space):
    def view(points, space=None, **changes):
        folder.create(space or make_space(families=["tiny-llama"]))
        for name, (reward, tax) in points.items():
            folder.append(make_trial(name, reward=reward, tax=tax, **changes))
        return read_view(folder)

    return view


def test_the_knee_and_the_most_reward_within_limits(viewed):
    view = viewed(BENT)
    choice = choice_of(view, "tiny-llama")
    assert [(pick.trial_id, list(pick.aims)) for pick in choice.picks] == [
        ("b", ["knee of the front", "most reward at a tax of at most 1 point"]),
        ("c", ["most reward at a tax of at most 20 points"]),
    ]
    assert choice.picks[0].command == "omsweep export demo --trial b --output b"
    assert choice.remarks == [WINNERS_CURSE]
    assert chosen(view, "tiny-llama") == "b"
    assert chosen(view, "tiny-llama", max_tax=0.5) == "a"


def test_a_front_of_two_has_no_knee(viewed):
    view = viewed({name: BENT[name] for name in ("a", "c", "beaten")} | {"beaten": (0.05, 2.0)})
    assert knee_of(view, "tiny-llama") is None
    assert "No knee" in choice_of(view, "tiny-llama").remarks[0]
    with pytest.raises(ValueError, match="the front of tiny-llama has no knee: fewer than 3 of its trials count"):
        chosen(view, "tiny-llama")


def test_within_a_limit_the_sft_model_may_be_the_best(viewed):
    view = viewed({"worse": (-0.1, -1.0), "dear": (0.5, 3.0)})
    assert best_within(view, "tiny-llama", 1.0) is None
    said = "No trial has more reward than the SFT model at a tax of at most 1 point."
    assert said in choice_of(view, "tiny-llama").remarks
    with pytest.raises(
        ValueError,
        match=r"no trial of tiny-llama has more reward than its SFT model at a tax of at most 1 point; the least is"
        r" \+3\.00.* of dear \(search split\)",
    ):
        chosen(view, "tiny-llama", max_tax=1.0)


def test_where_nothing_gains_no_tax_is_the_least(viewed):
    view = viewed({"worse": (-0.1, -1.0)})
    with pytest.raises(ValueError, match="at a tax of at most 1 point, nor at any other"):
        chosen(view, "tiny-llama", max_tax=1.0)


def test_numbers_are_of_the_report_split_where_they_are_known(viewed, folder):
    viewed(BENT)
    folder.rescored("b", reward=0.7, reward_se_items=0.1, tax=1.5, tax_se_items=0.2)
    choice = choice_of(read_view(folder), "tiny-llama")
    reading = choice.picks[0].reading
    assert (reading.split, reading.reward, reading.tax, reading.reward_error) == ("report", 0.7, 1.5, 0.1)
    assert (choice.picks[0].chosen_by.split, choice.picks[0].chosen_by.reward) == ("search", 0.9)
    assert WINNERS_CURSE in choice.remarks  # c has no others
    said = "Its tax is above 1 on the report split; it was chosen on the search split, where it is +1.00"
    assert [remark for remark in choice.picks[0].remarks if remark.startswith(said)], (
        "it is the pick at a tax of at most 1"
    )


def test_the_comparisons_limit_is_one_of_the_limits(viewed, make_space):
    comparison = {
        "contrasts": [["ondare", "adamw"]],
        "tax_limit": {"tiny-llama": 4.0},
        "delta": 0.1,
        "baseline": "adamw",
    }
    view = viewed(BENT, make_space(families=["tiny-llama"], comparison=comparison))
    assert tax_limits(view, "tiny-llama") == [1.0, 4.0, 20.0]


def test_who_leaves_the_constraints_is_not_taken(viewed, make_space, folder, make_trial):
    search = {"algorithm": "tpe", "trials": 9, "constraints": {"kl": {"at_most": 5.0}}}
    viewed(BENT, make_space(families=["tiny-llama"], mode="search", search=search), kl=1.0)
    folder.append(make_trial("far", reward=5.0, tax=0.0, kl=50.0))
    assert knee_of(read_view(folder), "tiny-llama") == "b"


def test_a_reward_within_noise_of_the_sft_models_is_said(viewed):
    choice = choice_of(viewed({"a": (0.1, 0.5)}, reward_se_items=0.2), "tiny-llama")
    assert "no more than the SFT model's within the noise of items" in choice.picks[0].remarks[0]


def test_a_policy_that_was_not_kept_is_said(viewed):
    assert "was not kept" in choice_of(viewed({"a": (0.1, 0.5)}), "tiny-llama").picks[0].remarks[-1]


def test_nothing_scored_gives_nothing(folder, make_trial, make_space):
    folder.create(make_space(families=["tiny-llama"]))
    folder.append(make_trial("lost", state="failed", reward=None, tax=None))
    choice = choice_of(read_view(folder), "tiny-llama")
    assert (list(choice.picks), choice.remarks) == ([], [])
