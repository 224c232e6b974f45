"""Front numbers and single contributions, against their definitions."""

import numpy as np
import pytest

from omsweep.pareto.dominance import front
from omsweep.pareto.sorting import contributions, front_numbers
from omsweep.pareto.volume import hypervolume

REFERENCE = (6.0, 6.0)


def test_a_chain_and_a_front() -> None:
    assert front_numbers([[3, 3], [1, 1], [2, 2], [1, 1]]).tolist() == [2, 0, 1, 0]
    assert front_numbers([[0, 2], [1, 1], [2, 0], [1, 2]]).tolist() == [0, 0, 0, 1]
    assert front_numbers([]).tolist() == []
    assert contributions([[0, 4], [2, 2], [5, 0], [7, -1]], [0, 0, 0, 0], REFERENCE).tolist() == [4.0, 6.0, 2.0, 0.0]


def test_what_is_no_number_is_refused() -> None:
    with pytest.raises(ValueError, match="finite"):
        front_numbers([[0.0, np.nan]])


@pytest.mark.parametrize("seed", range(200))
def test_both_are_what_peeling_and_leaving_out_give(seed: int) -> None:
    """Few values, so that points are equal, in line and beyond the reference point."""
    losses = np.random.default_rng(seed).integers(-1, 8, (seed % 23, 2)).astype(float)
    numbers, left, level = np.full(len(losses), -1), np.ones(len(losses), bool), 0
    while left.any():
        members = np.flatnonzero(left)[front(losses[left])]
        numbers[members], left[members], level = level, False, level + 1
    assert front_numbers(losses).tolist() == numbers.tolist()
    alone = [
        hypervolume(own := losses[numbers == numbers[i]], REFERENCE)
        - hypervolume(np.delete(own, (np.flatnonzero(numbers == numbers[i]) == i).argmax(), axis=0), REFERENCE)
        for i in range(len(losses))
    ]
    assert contributions(losses, numbers, REFERENCE).tolist() == pytest.approx(alone)
