"""The smallest detectable effect: the normal limit, simulation, and the directions it must move in."""

import math

import numpy as np
import pytest
from scipy.special import nctdtrinc
from scipy.stats import norm, t

from omsweep.results.comparison.clusters import clustered_mean
from omsweep.results.comparison.components import VarianceComponents
from omsweep.results.comparison.contrasts import ALL_FAMILIES, PRIMARY, Line, judged
from omsweep.results.comparison.detectable import Design, power, smallest_detectable_effect

ONES_OF_SEEDS = VarianceComponents(sft_seed=1.0, training_seed=1.0)
ONES = VarianceComponents(sft_seed=1.0, training_seed=1.0, item=1.0, residual=1.0)


def test_with_many_seeds_it_is_the_textbooks():
    design = Design(sft_seeds=10_000, runs=1)
    expected = (norm.ppf(0.975) + norm.ppf(0.8)) * math.sqrt(1 / 10_000)
    found = smallest_detectable_effect(design, VarianceComponents(sft_seed=1.0, training_seed=0.0))
    assert found == pytest.approx(expected, rel=1e-2)


@pytest.mark.parametrize("comparisons", [1, 18])
def test_over_sft_seeds_alone_it_is_the_noncentral_t(comparisons):
    design = Design(sft_seeds=4, runs=2, comparisons=comparisons)
    expected = nctdtrinc(3, 0.2, t.ppf(1 - 0.025 / comparisons, 3)) * math.sqrt(1 / 4 + 1 / 8)
    assert smallest_detectable_effect(design, ONES_OF_SEEDS) == pytest.approx(expected, rel=1e-2)


@pytest.mark.parametrize("families", [1, 2])
def test_the_verdict_finds_it_as_often_as_promised(families):
    """3 SFT seeds of 5 runs, one of 4 comparisons true: `better` in 80 % of 1000 reports, within 4 standard errors."""
    components = VarianceComponents(sft_seed=1.0, training_seed=2.0)
    design = Design(sft_seeds=3, runs=5, families=families, comparisons=4)
    effect, rng, found = smallest_detectable_effect(design, components), np.random.default_rng(0), 0
    units = 3 * families
    sft, family = np.repeat(np.arange(units), 5), np.repeat(np.arange(families), 15)
    for _ in range(1000):
        noise = rng.normal(size=units)[sft] + math.sqrt(2) * rng.normal(size=5 * units)
        one = clustered_mean(effect + noise, {"sft_seed": sft, "run": np.arange(5 * units)}, strata=family)
        none = clustered_mean([-1.0, 0.0, 1.0], {"sft_seed": range(3)})
        lines = [
            Line(measure=PRIMARY, family=ALL_FAMILIES, arm="a", against="b", estimate=e, blocks=units)
            for e in (one, none, none, none)
        ]
        found += judged(lines, ["f", "g"], 0.1, 4)[0].verdict == "better"
    assert 749 <= found <= 851
    assert power(design, components, effect) == pytest.approx(0.8, abs=1e-3)
    assert power(design, components, effect / 2) < 0.5


def test_one_sft_seed_speaks_of_training_seeds_only():
    alone = smallest_detectable_effect(Design(sft_seeds=1, runs=5), VarianceComponents(sft_seed=9.0, training_seed=1.0))
    same = smallest_detectable_effect(Design(sft_seeds=5, runs=1), VarianceComponents(sft_seed=1.0, training_seed=0.0))
    assert alone == pytest.approx(same, rel=1e-6)


def test_nothing_repeated_shows_nothing_and_no_variance_shows_all():
    assert power(Design(sft_seeds=1, runs=1), ONES, 9.0) == 0
    assert power(Design(sft_seeds=2, runs=1), VarianceComponents(sft_seed=0, training_seed=0), 0.1) == 1
    assert smallest_detectable_effect(Design(sft_seeds=1, runs=1), ONES) == math.inf
    assert smallest_detectable_effect(Design(sft_seeds=2, runs=1), VarianceComponents(sft_seed=0, training_seed=0)) == 0


@pytest.mark.parametrize("name", ["sft_seeds", "runs", "items", "families"])
def test_more_of_anything_makes_it_smaller(name):
    numbers = {"sft_seeds": 8, "runs": 5, "items": 50, "families": 1}
    more = Design(**(numbers | {name: 2 * numbers[name]}))
    assert smallest_detectable_effect(more, ONES) < smallest_detectable_effect(Design(**numbers), ONES)


def test_more_comparisons_make_it_larger_and_units_scale():
    few, many = (Design(sft_seeds=3, runs=5, items=50, comparisons=m) for m in (1, 10))
    assert smallest_detectable_effect(many, ONES) > 2 * smallest_detectable_effect(few, ONES)
    fours = VarianceComponents(**{name: 4 * value for name, value in vars(ONES).items()})
    assert smallest_detectable_effect(few, fours) == pytest.approx(2 * smallest_detectable_effect(few, ONES))


def test_an_unknown_component_counts_as_none():
    unknown = VarianceComponents(sft_seed=1.0, training_seed=math.nan)
    known = VarianceComponents(sft_seed=1.0, training_seed=0.0)
    design = Design(sft_seeds=3, runs=2)
    assert smallest_detectable_effect(design, unknown) == smallest_detectable_effect(design, known)
