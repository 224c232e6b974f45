"""Rotated tensors: the same singular values, other singular vectors, one rotation per name."""

import math

import pytest
import torch
from torch import Tensor

from omsweep.merging import rotation
from omsweep.merging.rotation import rotated


def spiked(rows: int, columns: int) -> Tensor:
    """A matrix with singular values 1, 1/2, 1/4, ...: what SFT adds is a few large directions and many small ones."""
    generator = torch.Generator().manual_seed(0)
    left, right = (
        torch.linalg.qr(torch.randn(n, min(rows, columns), generator=generator, dtype=torch.float64)).Q
        for n in (rows, columns)
    )
    return (left * 0.5 ** torch.arange(min(rows, columns))) @ right.T


@pytest.mark.parametrize("shape", [(96, 96), (128, 61), (37, 160), (503, 12), (1, 9), (9, 1), (2, 2)])
def test_singular_values_stay(shape: tuple[int, int]) -> None:
    tau = spiked(*shape).float()
    before, after = (torch.linalg.svdvals(x.double()) for x in (tau, rotated(tau, "w")))
    assert torch.allclose(before, after, rtol=0.0, atol=5e-7)


@pytest.mark.parametrize("shape", [(512, 384), (1024, 64)])
def test_leading_singular_vectors_overlap_no_more_than_by_chance(shape: tuple[int, int]) -> None:
    tau = spiked(*shape)
    turned = rotated(tau.float(), "w").double()
    for before, after in ((tau, turned), (tau.T, turned.T)):
        ours, theirs = (torch.linalg.svd(x, full_matrices=False).U[:, :4] for x in (before, after))
        # entries of two random directions' product scatter by 1 / sqrt(n)
        assert (ours.T @ theirs).abs().max() < 4.0 / math.sqrt(before.shape[0])
    assert abs(torch.corrcoef(torch.stack([tau.flatten(), turned.flatten()]))[0, 1]) < 4.0 / math.sqrt(tau.numel())


@pytest.mark.parametrize("direction", ["one entry", "constant", "alternating"])
def test_directions_with_structure_become_ordinary_ones(direction: str) -> None:
    """Entries of a random direction of n are Gaussian with variance 1 / n: a fourth moment of 3, nothing above 5 sd."""
    n = 2048
    vector = {"one entry": torch.eye(1, n)[0], "constant": torch.ones(n), "alternating": torch.ones(n)}[direction]
    vector = torch.where(torch.arange(n) % 2 == 0, vector, -vector) if direction == "alternating" else vector
    turned = rotated(vector / vector.norm(), "norm.weight") * math.sqrt(n)
    assert float(turned.pow(2).mean()) == pytest.approx(1.0, abs=1e-5)
    assert float(turned.pow(4).mean()) == pytest.approx(3.0, abs=4 * math.sqrt(96 / n))
    assert turned.abs().max() < 5.0


def test_it_is_the_product_of_two_orthogonal_matrices_drawn_by_name() -> None:
    tau = spiked(40, 24).float()
    left, right = (rotated(torch.eye(n), "w") for n in (40, 24))
    # row side and column side of the identity: Q1 I Q2^T is orthogonal, too
    for matrix in (left, right):
        assert torch.allclose(matrix @ matrix.T, torch.eye(len(matrix)), atol=1e-6)
    assert torch.equal(rotated(tau, "w"), rotated(tau.clone(), "w"))
    assert torch.allclose(rotated(3 * tau, "w"), 3 * rotated(tau, "w"), atol=1e-6)  # it does not look at the values
    assert not torch.allclose(rotated(tau, "w"), rotated(tau, "v"), atol=1e-2)
    # golden: the cache of one version serves the next
    assert rotated(torch.arange(5.0), "w").tolist() == pytest.approx(
        [2.8, 1.00102, 0.55156, 4.39008, 1.25734], abs=1e-5
    )


def test_pieces_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    tau = spiked(31, 18).float()
    expected = rotated(tau, "w")
    monkeypatch.setattr(rotation, "PIECE_ENTRIES", 40)
    assert torch.allclose(rotated(tau, "w"), expected, atol=1e-7)


def test_shape_dtype_and_the_given_tensor_stay() -> None:
    for shape in [(), (0, 3), (7,), (3, 4, 5), (2, 3, 4, 5)]:
        tau = torch.randn(shape, generator=torch.Generator().manual_seed(1)).bfloat16()
        before = tau.clone()
        turned = rotated(tau, "w")
        assert (turned.shape, turned.dtype) == (tau.shape, torch.bfloat16)
        assert torch.equal(tau, before)
        assert float(turned.float().norm()) == pytest.approx(float(tau.float().norm()), rel=0.01)
    stack = torch.stack([spiked(6, 5), spiked(6, 5).flip(0)]).float()
    assert torch.allclose(torch.linalg.svdvals(rotated(stack, "w")), torch.linalg.svdvals(stack), atol=1e-6)
