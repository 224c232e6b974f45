"""Sparsifiers: counts, ties, non-finite entries, rescaling."""

import itertools
import math

import pytest
import torch

from omsweep.merging.block import Block
from omsweep.merging.randomness import entry_bits, mask_key
from omsweep.merging.sparsify import keep_above, kept_count, random_mask, sparsify, top_mask, top_threshold

KEY = mask_key(0, 1, "update", "w")
INF, NAN = float("inf"), float("nan")


@pytest.mark.parametrize(
    ("count", "density", "min_kept", "expected"),
    [
        (10, 0.3, 1, 3),
        (10, 0.01, 1, 1),
        (10, 0.26, 1, 3),  # rounded
        (10, 0.26, 0, 2),  # truncated
        (10, 0.01, 0, 10),  # the released code is dense when nothing would be left
        (10, 0.1, 4, 4),
        (3, 0.1, 9, 3),
        (10, 1.0, 1, 10),
        (10, 1.0, 0, 10),
    ],
)
def test_kept_count(count: int, density: float, min_kept: int, expected: int) -> None:
    assert kept_count(count, density, min_kept) == expected


def test_top_mask_equals_a_sort_by_magnitude_and_hash() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(-4, 5, (23, 7), generator=generator).float()  # many ties
    order = sorted(
        range(x.numel()),
        key=lambda i: (abs(float(x.view(-1)[i])), int(entry_bits(torch.tensor([i]), KEY))),
        reverse=True,
    )
    for density in (0.01, 0.1, 0.33, 0.5, 0.99):
        keep = top_mask(x, density=density, min_kept=1, key=KEY)
        assert keep is not None
        k = kept_count(x.numel(), density, 1)
        zeros = set((x.view(-1) == 0).nonzero().view(-1).tolist())  # kept or dropped, they are 0
        assert set(keep.view(-1).nonzero().view(-1).tolist()) - zeros == set(order[:k]) - zeros


@pytest.mark.parametrize("density", [0.001, 0.25, 0.5, 0.999])
def test_all_tied_keeps_exactly_k(density: float) -> None:
    """Adam's first update ties nearly everywhere."""
    keep = top_mask(torch.full((1000,), -0.5), density=density, min_kept=1, key=KEY)
    assert keep is not None
    assert int(keep.sum()) == kept_count(1000, density, 1)


def test_ties_are_broken_anew_with_another_key() -> None:
    x = torch.ones(1000)
    first = top_mask(x, density=0.5, min_kept=1, key=KEY)
    other = top_mask(x, density=0.5, min_kept=1, key=mask_key(0, 2, "update", "w"))
    assert first is not None
    assert other is not None
    assert 400 < int((first == other).sum()) < 600


def test_non_finite_entries_rank_largest() -> None:
    x = torch.tensor([3.0, NAN, -1.0, INF, 2.0, -INF])
    keep = top_mask(x, density=0.5, min_kept=1, key=KEY)
    assert keep is not None
    assert keep.tolist() == [False, True, False, True, False, True]


@pytest.mark.parametrize("rescale", ["none", "inverse", "norm"])
def test_a_dropped_non_finite_entry_leaves_no_trace(rescale: str) -> None:
    x = torch.tensor([3.0, NAN, -1.0, INF])
    kept = sparsify(x, torch.tensor([True, False, True, False]), density=0.5, rescale=rescale)
    assert bool(torch.isfinite(kept).all())
    assert kept[1] == kept[3] == 0.0


def test_rescaling_in_closed_form() -> None:
    x, keep = torch.tensor([1.0, -2.0, 3.0, -4.0]), torch.tensor([False, True, False, True])
    assert sparsify(x, keep, density=0.5, rescale="none").tolist() == [0.0, -2.0, 0.0, -4.0]
    assert sparsify(x, keep, density=0.5, rescale="inverse").tolist() == [0.0, -4.0, 0.0, -8.0]
    norm = sparsify(x, keep, density=0.5, rescale="norm")
    assert norm.tolist() == pytest.approx([0.0, -2.0 * 10 / 6, 0.0, -4.0 * 10 / 6])
    assert float(norm.abs().sum()) == pytest.approx(10.0)
    nothing = torch.zeros(4, dtype=torch.bool)
    assert sparsify(x, nothing, density=0.5, rescale="norm").tolist() == [0.0] * 4


def test_full_density_keeps_the_tensor_itself() -> None:
    x = torch.randn(5)
    for choose in (random_mask, top_mask):
        assert choose(x, density=1.0, min_kept=1, key=KEY) is None
    for rescale in ("none", "inverse", "norm"):
        assert sparsify(x, None, density=1.0, rescale=rescale) is x


def test_an_empty_tensor_passes() -> None:
    x = torch.empty(0, 3)
    for choose in (random_mask, top_mask):
        keep = choose(x, density=0.5, min_kept=1, key=KEY)
        assert sparsify(x, keep, density=0.5, rescale="norm").shape == (0, 3)


@pytest.mark.parametrize("shards", [1, 2, 3, 4])
@pytest.mark.parametrize("tied", [False, True])
def test_a_threshold_cuts_shards_as_it_cuts_the_whole(shards: int, tied: bool) -> None:
    x = torch.randn(1003, generator=torch.Generator().manual_seed(1))
    x = x.sign() if tied else x
    threshold = top_threshold(x, 301, KEY)
    edges = [math.floor(1003 * i / shards) for i in range(shards + 1)]
    parts = [keep_above(x[a:b], threshold, KEY, block=Block(1003, a, 1, 1)) for a, b in itertools.pairwise(edges)]
    whole = top_mask(x, density=0.3, min_kept=1, key=KEY)
    assert whole is not None
    assert torch.equal(torch.cat(parts), whole)


def test_a_transposed_tensor_is_indexed_row_major() -> None:
    x = torch.randn(8, 6, generator=torch.Generator().manual_seed(2))
    turned = x.t().contiguous().t()
    for choose in (random_mask, top_mask):
        left = choose(x, density=0.4, min_kept=1, key=KEY)
        right = choose(turned, density=0.4, min_kept=1, key=KEY)
        assert left is not None
        assert right is not None
        assert torch.equal(left, right)
