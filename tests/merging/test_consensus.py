"""Consensus by hand, on four elements."""

import pytest
import torch
from torch import Tensor

from omsweep.merging.consensus import sign_consensus, unweighted_sign_consensus, weighted_sum

UPDATE = torch.tensor([1.0, 1.0, -4.0, 2.0])
TAU = torch.tensor([2.0, -3.0, 4.0, 0.0])


def moved(parts: tuple[Tensor, Tensor]) -> list[float]:
    return (parts[0] + parts[1]).tolist()


def test_weighted_sum() -> None:
    assert moved(weighted_sum(UPDATE, TAU, alpha=0.25)) == [1.25, 0.0, -2.0, 1.5]


def test_sign_consensus_elects_with_the_weighted_terms() -> None:
    # u = .75, .75, -3, 1.5 and v = .5, -.75, 1, 0: add; tie of opposite signs; the update is larger; tau is 0
    assert moved(sign_consensus(UPDATE, TAU, alpha=0.25)) == [1.25, 0.0, -3.0, 1.5]
    # u = .5, .5, -2, 1 and v = 1, -1.5, 2, 0: add; tau is larger; tie; tau is 0
    assert moved(sign_consensus(UPDATE, TAU, alpha=0.5)) == [1.5, -1.5, 0.0, 1.0]


def test_unweighted_consensus_elects_with_the_bare_sum() -> None:
    # sums 3, -2, 0, 2: signs +, -, + (a tie elects +), +; terms of the other sign are dropped, weights still apply
    assert moved(unweighted_sign_consensus(UPDATE, TAU, alpha=0.25)) == [1.25, -0.75, 1.0, 1.5]
    assert moved(unweighted_sign_consensus(UPDATE, TAU, alpha=0.0)) == [1.0, 0.0, 0.0, 2.0]


def test_the_parts_say_what_came_from_tau() -> None:
    assert sign_consensus(UPDATE, TAU, alpha=0.25).tau.tolist() == [0.5, 0.0, 0.0, 0.0]
    assert unweighted_sign_consensus(UPDATE, TAU, alpha=0.25).tau.tolist() == [0.5, -0.75, 1.0, 0.0]


def test_tiny_terms_of_opposite_sign_do_not_underflow() -> None:
    update, tau = torch.tensor([1e-30, 1e-30]), torch.tensor([-2e-30, -1e-30])
    assert moved(sign_consensus(update, tau, alpha=0.5)) == pytest.approx([-1e-30, 0.0], abs=1e-36)


@pytest.mark.parametrize("combine", [weighted_sum, sign_consensus])
def test_a_weight_of_zero_drops_even_what_is_not_finite(combine: object) -> None:
    bad, good = torch.tensor([float("inf"), float("nan")]), torch.tensor([1.0, 2.0])
    assert moved(combine(good, bad, alpha=0.0)) == [1.0, 2.0]  # type: ignore[operator]
    assert moved(combine(bad, good, alpha=1.0)) == [1.0, 2.0]  # type: ignore[operator]
