"""Over whom a front has gains, where noise is known by hand."""

import numpy as np
import pytest

from omsweep.results.answers.gains import gains_of
from omsweep.results.answers.item_noise import ItemNoise
from omsweep.results.view import read_view


@pytest.fixture
def gains(folder, make_trial, make_space):
    def found(trials, noise=None, error=0.1):
        folder.create(make_space(families=["tiny-llama"]))
        for name, (label, reward, tax, *more) in trials.items():
            errors = {"reward_se_items": error, "tax_se_items": 10 * error if error is not None else None}
            folder.append(make_trial(name, label=label, reward=reward, tax=tax, **errors, **dict(*more)))
        return {gain.over: gain for gain in gains_of(read_view(folder), "tiny-llama", noise)}

    return found


def test_more_reward_than_the_sft_model_by_more_than_noise(gains):
    sft = gains({"a": ("adamw", 0.5, 1.0)})["the SFT model"]
    assert (sft.beyond, sft.split, sft.looked_at) == (["a"], "search", 1)
    assert sft.said == (
        "1 of 1 trial on the front has more reward than the SFT model beyond the noise of items (search split)."
    )


@pytest.mark.parametrize(("reward", "error"), [(0.15, 0.1), (0.5, None)], ids=["too little", "noise not known"])
def test_nothing_beats_the_sft_model(gains, reward, error):
    sft = gains({"a": ("adamw", reward, 1.0)}, error=error)["the SFT model"]
    assert not sft.beyond
    assert sft.said.startswith("Nothing beats the SFT model beyond the noise of items (search split)")


def test_among_more_trials_more_is_needed(gains):
    """0.25 is 2.5 standard errors: enough for one trial that is looked at, too little for the best of twenty."""
    crowd = {f"t{i}": ("adamw", 0.0, 5.0) for i in range(19)}
    assert not gains({"a": ("adamw", 0.25, 1.0), **crowd})["the SFT model"].beyond


def test_adamw_is_beaten_by_reward_or_by_tax(gains):
    adamw = gains(
        {
            "base": ("adamw", 0.5, 5.0),
            "more": ("ondare", 1.5, 6.0),  # more reward, tax much alike
            "less": ("onties", 0.49, 0.5),  # less tax, reward much alike
            "same": ("onties", 0.51, 5.1),
        }
    )["AdamW"]
    assert (sorted(adamw.members), sorted(adamw.beyond)) == (["less", "more", "same"], ["less", "more"])
    assert "2 of 3 other trials on the front have what neither a run of AdamW nor the SFT model has" in adamw.said


def test_a_front_of_adamw_alone(gains):
    adamw = gains({"base": ("adamw", 0.5, 1.0), "worse": ("ondare", 0.1, 5.0)})["AdamW"]
    assert adamw.said == "Nothing beats AdamW: no other trial is on the front."


def test_without_runs_of_adamw_nothing_is_said_of_it(gains):
    assert list(gains({"a": ("ondare", 0.5, 1.0)})) == ["the SFT model"]


def test_interpolation_has_to_be_beaten_too(gains):
    path = {
        "kind": "posthoc",
        "parent": "base",
        "method": "linear",
        "params": {"posthoc": {"method": "linear", "weight": 0.5}},
    }
    found = gains({"base": ("adamw", 1.0, 9.0), "half": ("adamw+path", 0.9, 2.0, path), "new": ("ondare", 0.91, 2.1)})
    assert found["interpolation"].members == ["base", "new"] or set(found["interpolation"].members) == {"base", "new"}
    assert "new" not in found["interpolation"].beyond
    assert set(found) == {"the SFT model", "AdamW", "interpolation"}


def test_what_two_trials_err_in_together_does_not_hide_a_difference(gains):
    trials = {"base": ("adamw", 0.5, 1.0), "new": ("ondare", 0.6, 1.1)}
    shared = np.array([[1.0, 0.0], [0.1, 0.0]])  # tax, reward: all of both errors
    apart = np.array([[0.0, 0.0], [0.0, 0.01]])
    noise = {"search": ItemNoise(split="search", of={"base": shared, "new": shared + apart})}
    assert gains(trials, noise)["AdamW"].beyond == ["new"]


def test_the_report_split_is_read_where_all_have_it(gains):
    report = {"reward_report": 0.15, "reward_report_se_items": 0.1, "tax_report": 1.0, "tax_report_se_items": 1.0}
    sft = gains({"a": ("adamw", 9.0, 1.0, report), "off": ("adamw", 0.1, 7.0)})["the SFT model"]
    assert (sft.split, sft.looked_at, sft.beyond) == ("report", 1, [])
