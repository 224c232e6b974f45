"""Means over blocks: pseudo-values against item means, clusters against their own tests, shapes."""

import numpy as np
import pytest
from scipy import stats

from omsweep.results.comparison.blocks import block_mean
from omsweep.results.comparison.clusters import clustered_mean

BLOCKS = [(f, s, f"{s}-{r}") for f in ("x", "y") for s in "012" for r in range(5)]


def test_without_items_it_is_the_mean_over_sft_seeds_of_the_mean_over_runs():
    values = np.random.default_rng(0).normal(size=(15, 1))
    found = block_mean(values, BLOCKS[:15])
    means = values.reshape(3, 5).mean(axis=1)
    assert (found.value, found.standard_error) == pytest.approx((means.mean(), stats.sem(means)))
    assert (found.outermost, found.units) == ("sft_seed", 3)


def test_the_pseudo_values_of_a_mean_are_the_groups_means():
    groups = np.random.default_rng(1).normal(size=(15, 20))
    whole = groups.mean(axis=1, keepdims=True)
    found = block_mean(np.append(whole, (20 * whole - groups) / 19, axis=1), BLOCKS[:15])
    sft, item = np.repeat(np.arange(15) // 5, 20), np.tile(np.arange(20), 15)
    expected = clustered_mean(groups.ravel(), {"sft_seed": sft, "item": item})
    assert (found.value, found.standard_error) == pytest.approx((expected.value, expected.standard_error))
    assert found.degrees_of_freedom == pytest.approx(expected.degrees_of_freedom)


def test_the_mean_is_that_of_all_items_whatever_the_measure():
    values = np.random.default_rng(2).normal(size=(30, 21))
    assert block_mean(values, BLOCKS).value == pytest.approx(values[:, 0].mean())


def test_families_meet_the_same_items():
    """What an item does in every block of both families does not average out over families."""
    item = np.random.default_rng(3).normal(size=20)
    item -= item.mean()
    values = np.tile(np.append(0.0, -item / 19), (30, 1))
    assert block_mean(values, BLOCKS).standard_error == pytest.approx(stats.sem(item))
    assert block_mean(values[:15], BLOCKS[:15]).standard_error == pytest.approx(stats.sem(item))


def test_runs_that_sft_seeds_share_are_one_factor():
    shared = [(f, s, run.split("-")[1]) for f, s, run in BLOCKS[:15]]
    values = np.tile(np.random.default_rng(4).normal(size=5), 3)[:, None]
    assert block_mean(values, BLOCKS[:15]).standard_error == pytest.approx(0, abs=1e-12)
    assert block_mean(values, shared).standard_error == pytest.approx(stats.sem(values[:5, 0]))


def test_order_does_not_matter():
    rng = np.random.default_rng(5)
    values, order = rng.normal(size=(30, 6)), rng.permutation(30)
    found, moved = block_mean(values, BLOCKS), block_mean(values[order], [BLOCKS[i] for i in order])
    assert moved.value == pytest.approx(found.value)
    assert moved.parts == pytest.approx(np.array(found.parts))
