"""Thresholds from counts equal thresholds from a sort, summed over shards too."""

import itertools
import math

import pytest
import torch
from torch import Tensor

from omsweep.merging.block import Block
from omsweep.merging.randomness import entry_bits, mask_key
from omsweep.merging.sparsify import keep_above, keep_probability, magnitude_counts, ranked, top_threshold
from omsweep.merging.threshold import (
    NEAR_COLUMN,
    TopThreshold,
    magnitude_bits,
    threshold_among,
    threshold_of_pieces,
    top_thresholds,
)

KEY = mask_key(0, 1, "update", "w")


def samples() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    normal = torch.randn(5003, generator=generator)
    return {
        "normal": normal,
        "tied": normal.sign(),
        "rounded": (4 * normal).round() / 4,
        "tiny": normal * 1e-42,
        "wide": normal * torch.exp(20 * torch.randn(5003, generator=generator)),
        "infinite": torch.where(normal > 2, math.inf, normal),
    }


@pytest.mark.parametrize("name", samples())
@pytest.mark.parametrize("k", [1, 7, 251, 2500, 5002])
def test_the_kth_largest_of_a_sort(name: str, k: int) -> None:
    x = samples()[name]
    found = top_threshold(x, k, KEY)
    assert found.magnitude == int(magnitude_bits(x).sort(descending=True).values[k - 1])
    if found.magnitude > 0:
        assert int(keep_above(x, found, KEY).sum()) == k


@pytest.mark.parametrize("name", ["normal", "tied", "rounded", "wide", "infinite"])
@pytest.mark.parametrize("k", [1, 7, 251, 2500])
@pytest.mark.parametrize("width", [0.0, 0.01, 0.5])
def test_a_bracket_around_the_threshold_finds_the_same(name: str, k: int, width: float) -> None:
    x = samples()[name]
    expected = top_threshold(x, k, KEY)
    sizes, value = x.abs(), torch.tensor(expected.value)
    low, high = value * (1 - width), value * (1 + width)
    near = torch.zeros(-(-x.numel() // NEAR_COLUMN) * NEAR_COLUMN)
    near[: x.numel()] = torch.where((sizes >= low) & (sizes <= high), sizes, 0.0)
    above = int((sizes > high).sum())
    assert threshold_among(near, k - above, x, KEY) == expected
    assert threshold_among(torch.where(near < value, near, 0.0), k - above, x, KEY) != expected  # it lies above these
    assert threshold_among(near, 0, x, KEY) is None
    assert threshold_among(near, int((near > 0).sum()) + 1, x, KEY) is None


@pytest.mark.parametrize("name", samples())
def test_shards_add_up(name: str) -> None:
    x, k = samples()[name], 777
    whole = top_threshold(x, k, KEY)
    edges = [0, 1000, 1000, 4999, 5003]  # one shard is empty
    shards = [(x[a:b], Block(x.numel(), a, 1, 1)) for a, b in itertools.pairwise(edges)]
    calls: list[list[Tensor]] = [[] for _ in shards]
    exchanged: list[Tensor] = []

    def counted(at: int):
        def total(counts: Tensor) -> Tensor:
            calls[at].append(counts)
            return exchanged[len(calls[at]) - 1]

        return total

    for _ in range(7):  # learn the exchanged sums one collective after the other
        for at, (part, block) in enumerate(shards):
            calls[at].clear()
            try:
                found = top_thresholds([ranked(lambda part=part: part, k, KEY, block=block)], counted(at))
            except IndexError:
                continue
            assert found == [whole]
        depth = len(exchanged)
        if all(len(made) > depth for made in calls):
            exchanged.append(torch.stack([made[depth] for made in calls]).sum(0))
    assert len(exchanged) in (3, 6)
    kept = [keep_above(part, whole, KEY, block=block) for part, block in shards]
    assert torch.equal(torch.cat(kept), keep_above(x, whole, KEY))


def test_a_threshold_of_zero_keeps_all_and_breaks_no_ties() -> None:
    x = torch.zeros(100)
    x[:3] = 1.0
    assert top_threshold(x, 50, KEY) == TopThreshold(0, 0)


def test_keep_probabilities_rise_with_magnitude_around_the_density() -> None:
    x = torch.randn(20_000, generator=torch.Generator().manual_seed(1))
    chances = keep_probability(x, counts=None, density=0.3, spread=2 / 3)
    assert float(chances.mean()) == pytest.approx(0.3, abs=1e-9)
    order = x.abs().argsort()
    assert bool((chances[order].diff() >= 0).all())
    assert float(chances.max() - chances.min()) == pytest.approx(0.4, abs=0.03)
    halves = magnitude_counts(x[:9000]) + magnitude_counts(x[9000:])
    assert torch.equal(keep_probability(x[:9000], counts=halves, density=0.3, spread=2 / 3), chances[:9000])


@pytest.mark.parametrize("name", samples())
@pytest.mark.parametrize("size", [1, 100, 5003])
def test_a_tensor_in_pieces_has_the_threshold_of_the_whole(name: str, size: int) -> None:
    bits = magnitude_bits(samples()[name])[: 200 if size == 1 else None]
    pieces = list(zip(range(0, bits.numel(), size), bits.split(size), strict=True))
    for k in (1, 77, bits.numel() - 1):
        found = threshold_of_pieces(lambda: iter(pieces), k, lambda index: entry_bits(index, KEY))
        assert found == top_threshold(samples()[name][: bits.numel()], k, KEY)
