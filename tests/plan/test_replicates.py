"""Where another seed is expected to change the front most: by hand, against sampling, and for ties."""

import itertools

import numpy as np
import pytest

from omsweep.pareto.volume import hypervolume
from omsweep.plan.replicates import NODES, WEIGHTS, Recipe, Result, expected_changes, most_telling

REFERENCE = (20.0, 0.0)


def recipe(name: str, *losses: tuple[float, float], noise: float = 1.0, running: int = 0) -> Recipe:
    return Recipe({"x": name}, results=[Result(one, (noise, noise * 0.01)) for one in losses], running=running)


def test_the_expectation_is_that_of_the_definition() -> None:
    """Gauss and Hermite's rule against 2,000 draws: within a fifth, and in the same order."""
    rng = np.random.default_rng(0)
    means = np.array([[1.0, -0.2], [4.0, -0.5], [9.0, -0.55], [12.0, -0.1]])
    moves = np.array([[0.5, 0.02], [2.0, 0.1], [1.0, 0.05], [1.0, 0.02]])
    points = np.vstack([means, [0.0, 0.0]])
    now, drawn = hypervolume(points, REFERENCE), np.zeros(4)
    for i in range(4):
        for shift in rng.standard_normal((2_000, 2)):
            moved = points.copy()
            moved[i] += shift * moves[i]
            drawn[i] += abs(hypervolume(moved, REFERENCE) - now) / 2_000
    found = expected_changes(means, moves, REFERENCE)
    assert found[:3] == pytest.approx(drawn[:3], rel=0.2)
    assert found[3] == 0.0  # far behind the front: nothing it could score changes it


def test_points_far_behind_the_front_change_no_expectation() -> None:
    """Against the rule over all points: those behind the second front are left out of it."""
    rng = np.random.default_rng(1)
    means = np.column_stack([rng.uniform(0, 15, 60), -rng.uniform(0, 1, 60)])
    moves = np.tile([1.0, 0.05], (60, 1))
    points, expected = np.vstack([means, [0.0, 0.0]]), np.zeros(60)
    for (a, p), (b, q) in itertools.product(zip(NODES, WEIGHTS, strict=True), repeat=2):
        for i in range(60):
            moved = points.copy()
            moved[i] += moves[i] * (a, b)
            change = abs(hypervolume(moved, REFERENCE) - hypervolume(points, REFERENCE))
            expected[i] += p * q / (2 * np.pi) * change
    found = expected_changes(means, moves, REFERENCE)
    assert found == pytest.approx(expected, abs=1e-12)
    assert 3 < np.count_nonzero(found) < 60


def test_noise_of_a_member_draws_seeds_and_seeds_it_has_had_do_not() -> None:
    noisy, quiet = recipe("noisy", (4.0, -0.5), noise=4.0), recipe("quiet", (1.0, -0.2), noise=0.01)
    assert most_telling([quiet, noisy], REFERENCE) is noisy
    seen = recipe("noisy", *[(4.0, -0.5)] * 40, noise=4.0)
    fresh = recipe("quiet", (1.0, -0.2), noise=1.0)
    assert most_telling([seen, fresh], REFERENCE) is fresh
    assert most_telling([recipe("a", (4.0, -0.5), running=1), recipe("b", (4.0, -0.5))], REFERENCE).params["x"] == "b"


def test_seeds_that_differed_count_for_every_recipe() -> None:
    """A recipe behind the front may be on it once two seeds of another differed by more than its distance."""
    behind, member = recipe("behind", (5.0, -0.49), noise=1e-6), recipe("member", (4.0, -0.5), noise=1e-6)
    assert most_telling([behind, member], REFERENCE) is member
    apart = recipe("apart", (0.0, -0.01), (8.0, -0.01), noise=1e-6)
    changes = expected_changes(np.array([[5.0, -0.49], [4.0, -0.5]]), np.array([[4.0, 0.0], [4.0, 0.0]]), REFERENCE)
    assert changes[0] > 0
    assert most_telling([behind, member, apart], REFERENCE) is not None


def test_without_noise_the_front_and_the_fewest_seeds_decide() -> None:
    front = [recipe("a", (1.0, -0.2), (1.0, -0.2), noise=0), recipe("b", (4.0, -0.5), noise=0)]
    assert most_telling([recipe("behind", (9.0, -0.1), noise=0), *front], REFERENCE) is front[1]


def test_what_has_no_result_or_breaks_a_constraint_is_not_repeated() -> None:
    outside = recipe("outside", (0.5, -0.9))
    outside.violates = True
    assert most_telling([Recipe({"x": "failed"}), outside], REFERENCE) is None
    inside = recipe("inside", (5.0, -0.1))
    assert most_telling([outside, inside], REFERENCE) is inside
