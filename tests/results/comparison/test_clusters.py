"""The clustered mean: closed forms, agreement with scipy and with simulation, and what must not change it."""

import math

import numpy as np
import pytest
from scipy import stats

from omsweep.results.comparison.clusters import block_mean, clustered_mean, nested_weights
from omsweep.results.comparison.estimate import Estimate

BLOCKS = [(f, s, f"{s}-{r}") for f in ("x", "y") for s in "012" for r in range(5)]


def crossed(sft=3, runs=5, items=20):
    """Labels of `sft` SFT seeds x `runs` runs of each x `items` shared items, flat."""
    s, r, i = (grid.ravel() for grid in np.meshgrid(*map(np.arange, (sft, runs, items)), indexing="ij"))
    return {"sft_seed": s, "run": s * runs + r, "item": i}


def test_one_factor_is_the_t_interval_of_scipy():
    values = np.array([0.3, 0.1, 0.7, 0.4])
    found = clustered_mean(values, {"run": np.arange(4)})
    expected = stats.t.interval(0.9, df=3, loc=values.mean(), scale=stats.sem(values))
    assert found.interval(0.9) == pytest.approx(expected)
    assert found.p_value == pytest.approx(stats.ttest_1samp(values, 0).pvalue)
    assert (found.outermost, found.units) == ("run", 4)


def test_nested_runs_are_a_t_interval_over_sft_seed_means():
    labels = crossed(items=1)
    values = np.random.default_rng(0).normal(size=15)
    found = clustered_mean(values, {"sft_seed": labels["sft_seed"], "run": labels["run"]})
    means = values.reshape(3, 5).mean(axis=1)
    assert found.value == pytest.approx(means.mean())
    assert found.standard_error == pytest.approx(stats.sem(means))
    assert found.degrees_of_freedom == pytest.approx(2)


def test_unequal_numbers_of_runs_weigh_sft_seeds_alike():
    values, sft = np.array([1.0, 2.0, 3.0, 10.0, 5.0, 7.0]), np.array([0, 0, 0, 1, 2, 2])
    found = clustered_mean(values, {"sft_seed": sft, "run": np.arange(6)})
    assert found.value == pytest.approx((2 + 10 + 6) / 3)
    assert found.standard_error == pytest.approx(stats.sem([2, 10, 6]))


def test_with_one_sft_seed_the_training_seeds_are_the_outermost():
    values = np.array([1.0, 2.0, 4.0])
    found = clustered_mean(values, {"sft_seed": [7, 7, 7], "run": [0, 1, 2]})
    assert found.outermost == "run"
    assert found.standard_error == pytest.approx(stats.sem(values))


def test_an_outermost_factor_that_one_stratum_alone_repeats_is_not_passed_over():
    """Runs alone would take what SFT seeds scatter for nothing: 7 % of 90 % intervals held the truth."""
    family = np.repeat([0, 1], 12)
    seed = np.concatenate([np.repeat([0, 1, 2], 4), np.full(12, 3)])
    values = np.random.default_rng(0).normal(size=24)
    found = clustered_mean(values, {"sft_seed": seed, "run": np.arange(24)}, strata=family)
    assert (found.parts, found.outermost, found.units) == ((), None, 0)
    both = clustered_mean(values, {"sft_seed": np.arange(24) // 4, "run": np.arange(24)}, strata=family)
    assert both.outermost == "sft_seed"


def test_one_run_shows_nothing():
    found = clustered_mean([1.0], {"sft_seed": [0], "run": [0]})
    assert found.outermost is None
    assert found.p_value == 1.0
    assert found.interval() == (-math.inf, math.inf)


def test_strata_of_two_families_are_welchs_test():
    rng = np.random.default_rng(1)
    first, second = rng.normal(size=4), 5 * rng.normal(size=3)
    found = clustered_mean(
        np.concatenate([first, -second]), {"sft_seed": np.arange(7)}, strata=[0] * 4 + [1] * 3
    )  # the mean over families of (first, -second) is half of Welch's difference
    welch = stats.ttest_ind(first, second, equal_var=False)
    assert 2 * found.value == pytest.approx(first.mean() - second.mean())
    assert found.p_value == pytest.approx(welch.pvalue)
    assert found.degrees_of_freedom == pytest.approx(welch.df)


def test_crossed_items_add_what_anova_says():
    """V = (MS_sft + MS_item - MS_interaction) / N of a two-way table, where no term is cut off at 0."""
    rng = np.random.default_rng(2)
    table = rng.normal(size=(3, 1)) + 3 * rng.normal(size=(1, 8)) + 0.1 * rng.normal(size=(3, 8))
    s, i = (grid.ravel() for grid in np.meshgrid(np.arange(3), np.arange(8), indexing="ij"))
    found = clustered_mean(table.ravel(), {"sft_seed": s, "item": i})
    rows, columns = table.mean(axis=1), table.mean(axis=0)
    left = table - rows[:, None] - columns + table.mean()
    expected = stats.sem(rows) ** 2 + stats.sem(columns) ** 2 - (left**2).sum() / (2 * 7) / 24
    assert found.standard_error**2 == pytest.approx(expected)


def test_items_alone_are_the_paired_standard_error():
    values = np.random.default_rng(3).normal(size=50)
    assert clustered_mean(values, {"item": np.arange(50)}).standard_error == pytest.approx(stats.sem(values))


def test_weights_and_strata_give_the_stratified_standard_error_of_a_tax():
    """Two categories of one task each, 4 and 2 items: sum of (1/2)^2 var / n, as tax_se_items has it up to n - 1."""
    values, task = np.array([1.0, 0, 0, 1, 1, 0]), np.array([0, 0, 0, 0, 1, 1])
    found = clustered_mean(values, {"item": np.arange(6)}, strata=task)
    assert found.value == pytest.approx(0.5)
    assert found.standard_error**2 == pytest.approx(0.25 * (1 / 3 / 4 + 0.5 / 2))


def test_a_training_seed_shared_by_sft_seeds_is_crossed_with_them():
    labels, rng = crossed(items=1), np.random.default_rng(4)
    shared = np.tile(np.arange(5), 3)
    values = rng.normal(size=5)[shared] + 0.01 * rng.normal(size=15)
    nested = clustered_mean(values, {"sft_seed": labels["sft_seed"], "run": labels["run"]})
    both = clustered_mean(values, {"sft_seed": labels["sft_seed"], "run": shared})
    assert both.standard_error > 10 * nested.standard_error
    assert both.standard_error == pytest.approx(stats.sem(values.reshape(3, 5).mean(axis=0)), rel=0.02)


@pytest.mark.parametrize("scales", [(1.0, 0.5, 0.0, 1.0), (0.0, 0.5, 1.0, 1.0), (0.5, 0.5, 1.0, 3.0)])
def test_intervals_cover(scales):
    """SFT seed, training seed, item and residual scales; 90 % intervals over 1000 draws."""
    labels, rng, hits = crossed(), np.random.default_rng(5), 0
    for _ in range(1000):
        noise = [scale * rng.normal(size=n) for scale, n in zip(scales, (3, 15, 20, 300), strict=True)]
        values = noise[0][labels["sft_seed"]] + noise[1][labels["run"]] + noise[2][labels["item"]] + noise[3]
        low, high = clustered_mean(values, labels).interval(0.9)
        hits += low <= 0 <= high
    assert 850 <= hits <= 950


def test_order_names_and_units_do_not_matter():
    labels, rng = crossed(), np.random.default_rng(6)
    values, order = rng.normal(size=300), rng.permutation(300)
    found = clustered_mean(values, labels)
    moved = clustered_mean(3 - 2 * values[order], {name: [f"x{v}" for v in v[order]] for name, v in labels.items()})
    assert moved.value == pytest.approx(3 - 2 * found.value)
    assert moved.standard_error == pytest.approx(2 * found.standard_error)
    assert moved.degrees_of_freedom == pytest.approx(found.degrees_of_freedom)


def test_units_that_do_not_differ_show_nothing():
    found = clustered_mean([0.5] * 3, {"run": [0, 1, 2]})
    assert found.standard_error == 0
    assert found.p_value == 1.0


def test_nested_weights_by_hand():
    assert nested_weights([[0, 0, 0, 1], [0, 0, 1, 0]]) == pytest.approx([1 / 8, 1 / 8, 1 / 4, 1 / 2])


def test_what_is_no_sample_is_refused():
    with pytest.raises(ValueError, match="values must be finite"):
        clustered_mean([1.0, math.nan], {"run": [0, 1]})
    with pytest.raises(ValueError, match=r"run must have shape \[2\], got \[1\]"):
        clustered_mean([1.0, 2.0], {"run": [0]})
    with pytest.raises(ValueError, match="at least one factor"):
        clustered_mean([1.0, 2.0], {})
    with pytest.raises(ValueError, match=r"level must be in \(0, 1\), got 90"):
        Estimate(value=0, parts=((1.0, 2.0),), outermost="run", units=3).interval(90)


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
