"""Bits and masks: closed form, statistics, and the same bits however a tensor is cut."""

import itertools
import math

import pytest
import torch

from omsweep.merging import randomness
from omsweep.merging.block import Block
from omsweep.merging.randomness import entry_bits, keep_random, mask_key, sample_index, uniform_bits
from omsweep.optim.reference import bits as reference_bits

GOLDEN_KEY = (2956462299, 8866208)
GOLDEN_BITS = [2046505923, 1780789542, 3976554321, 2597747433, 2585189599, 3547432103]
KEY = mask_key(3, 7, "update", "model.layers.0.weight")


def test_bits_do_not_change_between_versions() -> None:
    """Checkpoints and published runs rely on them."""
    assert mask_key(0, 1, "update", "w") == GOLDEN_KEY
    index = torch.tensor([0, 1, 2, 65536, 2**31, 2**32 - 1])
    assert entry_bits(index, mask_key(0, 1, "update", "w")).tolist() == GOLDEN_BITS


def test_bits_equal_python_integers() -> None:
    index = torch.tensor([0, 1, 2, 3, 255, 65535, 65536, 2**31 - 1, 2**31, 2**32 - 1])
    for key in (KEY, mask_key(2**63, 0, "task_vector", "")):
        assert entry_bits(index, key).tolist() == [reference_bits(i, key) for i in index.tolist()]


def test_bits_are_a_bijection_of_the_index() -> None:
    found = entry_bits(torch.arange(2**20), KEY)
    assert found.unique().numel() == 2**20
    assert int(found.min()) >= 0
    assert int(found.max()) < 2**32


def test_every_bit_is_balanced() -> None:
    found = entry_bits(torch.arange(2**18), KEY)
    for bit in range(32):
        ones = int(((found >> bit) & 1).sum())
        assert abs(ones - 2**17) < 5 * math.sqrt(2**18) / 2, bit


@pytest.mark.parametrize("density", [0.9, 0.5, 0.05, 1e-3, 1e-5])
def test_kept_share_is_within_four_sigma(density: float) -> None:
    count = 400_000
    kept = int(keep_random(count, density, KEY).sum())
    assert abs(kept - count * density) <= 4 * math.sqrt(count * density * (1 - density))


@pytest.mark.parametrize(
    "other",
    [
        mask_key(4, 7, "update", "model.layers.0.weight"),
        mask_key(3, 8, "update", "model.layers.0.weight"),
        mask_key(3, 7, "task_vector", "model.layers.0.weight"),
        mask_key(3, 7, "update", "model.layers.1.weight"),
    ],
    ids=["seed", "step", "stream", "name"],
)
def test_masks_of_different_keys_are_independent(other: tuple[int, int]) -> None:
    count, density = 200_000, 0.3
    both = keep_random(count, density, KEY) & keep_random(count, density, other)  # type: ignore[arg-type]
    share = density**2
    assert abs(int(both.sum()) - count * share) <= 4 * math.sqrt(count * share * (1 - share))


@pytest.mark.parametrize("shards", [1, 2, 3, 4])
def test_a_mask_is_the_same_however_it_is_cut(shards: int) -> None:
    count = 200_003
    edges = [count * i // shards for i in range(shards + 1)]
    parts = [keep_random(b - a, 0.4, KEY, block=Block(count, a, 1, 1)) for a, b in itertools.pairwise(edges)]
    assert torch.equal(torch.cat(parts), keep_random(count, 0.4, KEY))


def test_bits_do_not_depend_on_how_many_are_hashed_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    count, cut = 200_003, Block(total=800_012, start=7, run=100, stride=400)
    expected = [uniform_bits(count, KEY), uniform_bits(count, KEY, block=cut)]
    for size in (1000, 2**22):
        monkeypatch.setattr(randomness, "CHUNK_ENTRIES", {"cpu": size})
        randomness._counted.cache_clear()
        assert torch.equal(uniform_bits(count, KEY), expected[0])
        assert torch.equal(uniform_bits(count, KEY, block=cut), expected[1])
        assert torch.equal(keep_random(count, 0.3, KEY), expected[0] < 0.3 * 2**32)
    randomness._counted.cache_clear()


def test_off_the_cpu_few_runs_are_hashed() -> None:
    """Each takes a dozen kernel launches; `meta` stands for a GPU."""
    runs = {name: len(list(randomness._chunks(2**23, KEY, None, torch.device(name)))) for name in ("cpu", "meta")}
    assert runs == {"cpu": 128, "meta": 2}


def test_a_density_below_one_bit_still_keeps_something() -> None:
    """bits < p * 2^32 holds for bits = 0 whatever p is."""
    zero = int(entry_bits(torch.arange(2**20), KEY).argmin())
    value = reference_bits(zero, KEY)
    assert keep_random(1, (value + 0.5) / 2**32, KEY, block=Block(2**20, zero, 1, 1)).item()
    assert not keep_random(1, value / 2**32, KEY, block=Block(2**20, zero, 1, 1)).item()


def test_sample_is_distinct_ascending_and_fixed() -> None:
    index = sample_index(100_000, 1000, "w")
    assert torch.equal(index, sample_index(100_000, 1000, "w"))
    assert not torch.equal(index, sample_index(100_000, 1000, "v"))
    assert bool((index[1:] > index[:-1]).all())
    assert int(index.min()) >= 0
    assert int(index.max()) < 100_000
    assert sample_index(5, 1000, "w").tolist() == [0, 1, 2, 3, 4]
