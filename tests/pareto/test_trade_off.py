"""The knee where geometry says where it is."""

import numpy as np
import pytest

from omsweep.pareto import knee

REFERENCE = [20.0, 0.0]


def test_the_corner_of_an_l_is_the_knee():
    members = [[0, -0.1], [1, -0.9], [10, -1.0]]
    assert knee(members, REFERENCE) == 1


def test_a_quarter_circle_bends_in_the_middle():
    angle = np.linspace(0, np.pi / 2, 9)
    members = np.stack([10 * (1 - np.cos(angle)), -1 - np.sin(angle)], axis=1)
    assert knee(members, REFERENCE) == 4


@pytest.mark.parametrize("scale", [(1.0, 1.0), (1e-3, 50.0)])
def test_units_do_not_matter(scale):
    members = np.array([[0, -0.2], [2, -0.6], [3, -0.9], [9, -1.0]])
    assert knee(members * scale, np.array(REFERENCE) * scale) == 2


@pytest.mark.parametrize(
    "members",
    [
        [[0, -0.1], [1, -0.9]],
        [[0, -0.1], [1, -0.5], [2, -0.9]],  # a straight line
        [[0, -0.1], [9, -0.2], [10, -1.0]],  # bent the other way
        [[0, -0.1], [1, -0.9], [30, -1.0]],  # the third is beyond the reference
        [[1, -0.9]] * 4,
        np.empty((0, 2)),
    ],
    ids=["two", "straight", "hollow", "beyond", "equal", "none"],
)
def test_no_knee(members):
    assert knee(members, REFERENCE) is None
