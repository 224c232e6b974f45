import numpy as np
import pytest

from omsweep.align.order import example_order


def test_each_pass_holds_every_row_once():
    order = example_order(10, wanted=30, seed=1)
    passes = order.reshape(3, 10)
    assert (np.sort(passes, axis=1) == np.arange(10)).all()
    assert not (passes[0] == passes[1]).all()


def test_a_longer_order_begins_with_the_shorter_one():
    assert (example_order(10, wanted=25, seed=1)[:7] == example_order(10, wanted=7, seed=1)).all()


def test_another_seed_is_another_order():
    assert (example_order(50, wanted=50, seed=1) != example_order(50, wanted=50, seed=2)).any()


def test_groups_stay_together_and_a_trailing_part_is_never_drawn():
    order = example_order(11, wanted=18, seed=4, group=3).reshape(-1, 3)
    assert (order == order[:, :1] + np.arange(3)).all()
    assert set(order[:, 0]) == {0, 3, 6}


def test_too_few_rows_for_a_group_is_an_error():
    with pytest.raises(ValueError, match=r"at least 8 examples .* got 7"):
        example_order(7, wanted=1, seed=0, group=8)
