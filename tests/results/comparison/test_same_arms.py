"""The A/A test: every way of telling two equal runs apart, and that it would notice a difference."""

from dataclasses import replace

import numpy as np
import pytest

from omsweep.results.comparison.question import question_of
from tests.benchmark_scripts import benchmark_script


@pytest.fixture(scope="module")
def same_arms():
    return benchmark_script("same_arms")


@pytest.fixture(scope="module")
def asked(make_question_space):
    return question_of(make_question_space(families=["one"]))


def test_equal_runs_get_no_verdict_but_equivalent(same_arms, make_points, asked):
    points = make_points(runs=2, families=("one",), sft_seeds=6)
    found = same_arms.verdicts_of(points, asked, 256)
    assert found.total() == 2**6
    assert found["better"] + found["worse"] <= 0.1 * 2**6
    assert same_arms.verdicts_of(points, asked, 3).total() == 3


def test_runs_that_differ_are_told_apart_where_all_of_one_kind_are_on_one_side(same_arms, make_points, asked):
    points = make_points(runs=2, families=("one",), sft_seeds=6)
    second = np.array([run == "b0-s1" for _, _, run in points.block])
    factor = np.where(second, 1.5, 1.0)
    changed = replace(
        points,
        search=points.search
        * [[1.0, 1.0, 1.0]]
        * np.stack([factor, np.ones_like(factor), np.ones_like(factor)], axis=1),
        report=points.report * np.stack([factor, np.ones_like(factor), np.ones_like(factor)], axis=1)[:, None],
    )
    found = same_arms.verdicts_of(changed, asked, 256)
    assert found["better"] == found["worse"] >= 1


def test_a_sweep_without_two_runs_of_each_sft_seed_is_refused(same_arms, make_points, asked):
    with pytest.raises(ValueError, match="every SFT seed must have two runs of adamw"):
        same_arms.verdicts_of(make_points(runs=3, families=("one",)), asked, 9)
    with pytest.raises(ValueError, match="3 SFT seeds are too few, 6 are needed"):
        same_arms.verdicts_of(make_points(runs=2, families=("one",)), asked, 9)
