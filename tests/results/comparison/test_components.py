"""Variance components: ANOVA by hand, recovery of known ones, and what must not change them."""

import math

import numpy as np
import pytest

from omsweep.results.comparison.components import variance_components


def table(rng, components, *, sizes=(5, 5, 5), items=30):
    a, b, c, e = np.sqrt(components)
    unit = np.repeat(np.arange(len(sizes)), sizes)
    rows = a * rng.normal(size=len(sizes))[unit] + b * rng.normal(size=len(unit))
    return rows[:, None] + c * rng.normal(size=items) + e * rng.normal(size=(len(unit), items)), unit


def test_nested_means_by_hand():
    """Two SFT seeds of two runs, one item: within 0.5 and 2, so B = 1.25; means 1.5 and 5, so A = 6.125 - 0.625."""
    found = variance_components([[1.0], [2.0], [4.0], [6.0]], [0, 0, 1, 1])
    assert found.training_seed == pytest.approx(1.25)
    assert found.sft_seed == pytest.approx(6.125 - 0.625)
    assert (found.item, found.residual) == (0.0, 0.0)


def test_two_way_table_by_hand():
    """Rows differ by 2, columns by 4, no interaction: B = 2 (variance of rows), C = 8, e = 0."""
    found = variance_components([[0.0, 4.0], [2.0, 6.0]], [0, 0])
    assert (found.training_seed, found.item, found.residual) == pytest.approx((2.0, 8.0, 0.0))
    assert math.isnan(found.sft_seed)


@pytest.mark.parametrize("sizes", [(5, 5, 5), (2, 5, 3)])
def test_known_components_are_recovered_on_average(sizes):
    truth, rng = (4.0, 2.0, 1.0, 3.0), np.random.default_rng(0)
    found = [variance_components(*table(rng, truth, sizes=sizes)) for _ in range(2000)]
    mean = np.mean([list(vars(one).values()) for one in found], axis=0)
    assert mean == pytest.approx(truth, rel=0.12)  # cutting off at 0 adds a little to the first


def test_one_run_of_each_sft_seed_cannot_be_split():
    found = variance_components(np.random.default_rng(1).normal(size=(3, 10)), [0, 1, 2])
    assert math.isnan(found.training_seed)
    assert found.sft_seed >= 0


def test_order_shift_and_scale():
    values, unit = table(np.random.default_rng(2), (1.0, 1.0, 1.0, 1.0), sizes=(2, 4, 3))
    order = np.random.default_rng(3).permutation(9)
    first, moved = variance_components(values, unit), variance_components(7 - 2 * values[order], unit[order])
    assert list(vars(moved).values()) == pytest.approx([4 * v for v in vars(first).values()])


def test_what_is_no_table_is_refused():
    with pytest.raises(ValueError, match=r"differences must be finite, of shape \[R, n\]"):
        variance_components([[1.0, 2.0]], [0])
    with pytest.raises(ValueError, match=r"sft_seed must have shape \[2\], got \[3\]"):
        variance_components([[1.0], [2.0]], [0, 1, 2])
