"""The front's line, the shaded area and the window."""

import numpy as np
import pytest

from omsweep.pareto import hypervolume
from omsweep.results.geometry import Mark, dominated_area, front_line, marks, paths, staircase, window
from omsweep.results.objectives import Objectives
from omsweep.results.view import read_view
from omsweep.store.records import TrialRecord


def mark(tax, reward, tax_error=0.0, reward_error=0.0):
    trial = TrialRecord(trial_id="t", family="f", state="completed")
    errors = {"tax_error": tax_error, "reward_error": reward_error}
    return Mark(trial=trial, tax=tax, reward=reward, on_front=True, **errors)


def polygon_area(corners):
    x, y = np.array(corners).T
    return abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2


def test_the_line_runs_right_then_up():
    assert staircase([(3, 2), (1, 1)]) == [(1, 1), (3, 1), (3, 2)]
    assert staircase([(1, 1), (1, 1)]) == [(1, 1)]
    assert staircase([]) == []


def test_the_front_of_some_trials_counts_the_sft_model():
    assert front_line([mark(1.0, 0.5), mark(2.0, 0.4), mark(3.0, 0.9)]) == [(0, 0), (1.0, 0.5), (3.0, 0.9)]
    assert front_line([mark(-1.0, 0.5)]) == [(-1.0, 0.5)]


def test_a_path_runs_from_the_sft_model_through_merges_by_their_weights_to_the_policy():
    def at(trial_id, tax, on_front=False, **fields):
        trial = TrialRecord(trial_id=trial_id, family="f", state="completed", **fields)
        return Mark(trial=trial, tax=tax, reward=0.1 * tax, tax_error=0.0, reward_error=0.0, on_front=on_front)

    def merged(parent, weight, tax, method="linear", **look):
        params = {"posthoc": {"method": method, "weight": weight}}
        return at(f"{parent}+{method}-{weight}", tax, kind="posthoc", parent=parent, params=params, **look)

    shown = [at("a", 4.0), at("b", 9.0), at("c", 3.0), merged("a", 0.6, 2.0), merged("a", 0.3, 1.0)]
    shown += [merged("b", 0.5, 5.0, on_front=True), merged("c", 0.5, 1.5, method="ties"), merged("gone", 0.5, 1.0)]
    assert [[tax for tax, _ in path] for path in paths(shown)] == [[0, 5, 9], [0, 1, 2, 4]]


@pytest.mark.parametrize("seed", range(10))
def test_the_shaded_area_is_the_hypervolume(seed):
    rng = np.random.default_rng(seed)
    taxes, rewards = np.sort(rng.uniform(-2, 25, 8)), np.sort(rng.uniform(-0.5, 2, 8))
    members = list(zip(taxes.tolist(), rewards.tolist(), strict=True))
    objectives = Objectives(reference_tax=20.0, reference_reward=0.1)
    losses = np.column_stack([taxes, -rewards])
    expected = hypervolume(losses, objectives.reference_losses)
    assert polygon_area(dominated_area(members, objectives)) == pytest.approx(expected)


def test_nothing_is_shaded_beyond_the_reference():
    assert dominated_area([(21.0, 1.0), (1.0, -0.1)], Objectives()) == []


def test_the_window_holds_the_sft_model_and_every_error_bar():
    shown = [mark(2.0, 0.5, tax_error=1.0, reward_error=0.1), mark(5.0, 1.0, tax_error=0.5, reward_error=0.2)]
    seen = window(shown, Objectives())
    assert seen.tax[0] < 0 < 5.5 < seen.tax[1] < 7
    assert seen.reward[0] < 0 < 1.2 < seen.reward[1] < 1.5
    assert seen.beyond == 0


def test_collapsed_trials_past_the_reference_are_counted_not_shown():
    seen = window([mark(1.0, 0.5), mark(60.0, -3.0)], Objectives())
    assert seen.tax[1] < 2
    assert seen.reward[0] > -1
    assert seen.beyond == 1


def test_a_trial_just_past_the_reference_is_seen_and_not_said_to_be_missing():
    seen = window([mark(1.0, 0.5), mark(19.8, 0.3), mark(20.1, 0.3)], Objectives())
    assert seen.tax[1] > 20.1
    assert seen.beyond == 0


def test_when_all_trials_are_past_the_reference_they_are_shown():
    seen = window([mark(60.0, -3.0)], Objectives())
    assert seen.tax[1] > 60
    assert seen.beyond == 0


def test_a_single_trial_at_the_origin_still_has_a_window():
    seen = window([mark(0.0, 0.0)], Objectives())
    assert seen.tax[0] < 0 < seen.tax[1]
    assert seen.reward[0] < 0 < seen.reward[1]


def test_marks_carry_error_bars_where_they_are_known(folder, make_trial, make_space):
    folder.create(make_space())
    folder.append(make_trial("a", reward=0.5, tax=1.0, reward_se_items=0.1, tax_se_items=0.5))
    folder.append(make_trial("b", reward=0.4, tax=2.0))
    first, second = marks(read_view(folder), "tiny-llama")
    assert (first.reward_error, first.tax_error) == pytest.approx((0.196, 0.98))
    assert (second.reward_error, second.tax_error) == (0.0, 0.0)
    assert (first.on_front, second.on_front) == (True, False)
