"""Random bits as a pure function of (seed, step, stream, parameter name, row-major index). No generator, no state.

The bits of an entry are a 32-bit integer hash of its index, keyed with two words (all modulo 2^32, `first` odd):

    x = index * first + second
    x ^= x >> 16;  x *= 0x7feb352d;  x ^= x >> 15;  x *= 0x846ca68b;  x ^= x >> 16

a Weyl sequence under the lowbias32 finalizer (Chris Wellons, public domain). Every line is a bijection of 32-bit words,
so for one key no two entries share bits: the same bits decide random masks and break ties. Everything is wrapping
32-bit integer arithmetic: a compiled or a Triton kernel reproduces it bit for bit.
"""

import math
import zlib
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from omsweep.merging.block import Block, whole

STREAMS = {"update": 0, "task_vector": 1, "sample": 2, "offline": 3, "rounding": 4, "permutation": 5, "rotation": 6}

MAX_ENTRIES = 2**32
CHUNK_ENTRIES = {"cpu": 2**16}
"""Entries hashed at a time by device type: what keeps the dozen passes inside a CPU's caches."""
CHUNK_ENTRIES_ELSEWHERE = 2**22
"""A GPU starts a kernel for each pass of each chunk: with small ones it waits for the starts."""
RUN = 8
_WORD = 0xFFFFFFFF
_MULTIPLIERS = (0x7FEB352D, 0x846CA68B)


class MaskKey(NamedTuple):
    """The two 32-bit words that key the hash of one tensor at one step; the first is odd."""

    first: int
    second: int


def mask_key(seed: int, step: int, stream: str, name: str) -> MaskKey:
    """The key of one tensor's bits.

    Args:
        seed: any integer; its low 64 bits count.
        step: the merge step (0 for what is drawn once).
        stream: one of `STREAMS`; streams are independent.
        name: canonical parameter name, hashed with crc32.
    """
    state = seed & (2**64 - 1)
    for word in (step, STREAMS[stream], zlib.crc32(name.encode())):
        state = _splitmix64(state ^ _splitmix64(word))
    return MaskKey((state >> 32) | 1, state & _WORD)


def mask_keys(seed: int, step: int, stream: str, names: Tensor) -> Tensor:
    """`mask_key` of many names at once.

    Args:
        names: from `name_words`.

    Returns:
        int64 `[names, 2]`, both words of each key, in [0, 2^32).
    """
    state = seed & (2**64 - 1)
    for word in (step, STREAMS[stream]):
        state = _splitmix64(state ^ _splitmix64(word))
    found = _splitmix64_each(names ^ signed(state, 64))
    return torch.stack([((found >> 32) & _WORD) | 1, found & _WORD], dim=1)


def name_words(names: Sequence[str]) -> Tensor:
    """What `mask_keys` takes of names: int64 `[names]`."""
    return torch.tensor([signed(_splitmix64(zlib.crc32(name.encode())), 64) for name in names])


def entry_bits(index: Tensor, key: MaskKey) -> Tensor:
    """32 well-mixed bits per index.

    Args:
        index: int64, row-major positions in the full tensor, each in [0, 2^32).
        key: from `mask_key`.

    Returns:
        int64, the shape of `index`, values in [0, 2^32), a bijection of the index.
    """
    return _bits_(index.to(torch.int32), key)


def keep_random(
    count: int, density: float, key: MaskKey, *, block: Block | None = None, device: torch.device | None = None
) -> Tensor:
    """Keep decisions of `count` entries: True where bits < density * 2^32, compared in int64.

    Args:
        count: number of entries, flat.
        density: p in (0, 1].
        key: from `mask_key`.
        block: where the entries lie in the full tensor, so that a shard draws its own part; None: they are all of it.
        device: where the mask is made.

    Returns:
        bool `[count]`.
    """
    keep = torch.empty(count, dtype=torch.bool, device=device)
    for low, words in _chunks(count, key, block, device):
        torch.lt(words, keep_limit(density), out=keep[low : low + words.numel()])
    return keep


def uniform_bits(count: int, key: MaskKey, *, block: Block | None = None, device: torch.device | None = None) -> Tensor:
    """The bits of `count` entries, int64 `[count]` in [0, 2^32); arguments as for `keep_random`."""
    bits = torch.empty(count, dtype=torch.int64, device=device)
    for low, words in _chunks(count, key, block, device):
        bits[low : low + words.numel()] = words
    return bits


def keep_limit(density: float) -> int:
    """The least word that is not kept: integers below p * 2^32 are those below its ceiling."""
    return math.ceil(density * MAX_ENTRIES)


def _chunks(count: int, key: MaskKey, block: Block | None, device: torch.device | None) -> Iterator[tuple[int, Tensor]]:
    """(first position, bits) of successive runs of entries; the bits do not depend on how long these are."""
    block = whole(count) if block is None else block
    assert block.total <= MAX_ENTRIES, f"{block.total} entries, the hash is defined for 2^32"
    size = _chunk_entries(device)
    for low in range(0, count, size):
        high = min(low + size, count)
        if block.contiguous:
            first = block.start + low
            yield low, _bits_(_counted(device)[: high - low] + signed(first & _WORD), key)
        else:
            yield low, entry_bits(block.index_of(torch.arange(low, high, device=device)), key)


def sample_index(count: int, size: int, name: str, run: int = RUN) -> Tensor:
    """Distinct ascending indices into `count` entries: runs of `run`, one in each equal stratum, by hash of `name`.

    Runs, because neighbours lie in one line of the cache: an eighth of the waiting for memory.

    Returns:
        int64 `[size rounded down to whole runs]` on the CPU; all indices when `count <= size`.
    """
    if count <= size:
        return torch.arange(count)
    assert size >= run, f"a sample has at least {run} entries, got {size}"
    runs = size // run
    edges = torch.arange(runs + 1).mul_(count).div_(runs, rounding_mode="floor")
    bits = entry_bits(torch.arange(runs), mask_key(0, 0, "sample", name))
    starts = edges[:-1] + ((bits * (edges[1:] - edges[:-1] - run + 1)) >> 32)
    return (starts.unsqueeze(1) + torch.arange(run)).view(-1)


def _chunk_entries(device: torch.device | None) -> int:
    kind = "cpu" if device is None else torch.device(device).type
    return CHUNK_ENTRIES.get(kind, CHUNK_ENTRIES_ELSEWHERE)


@lru_cache(maxsize=8)
def _counted(device: torch.device | None) -> Tensor:
    """0, 1, 2, ... as int32, one chunk of it."""
    return torch.arange(_chunk_entries(device), dtype=torch.int32, device=device)


def _bits_(words: Tensor, key: MaskKey) -> Tensor:
    """The hash, in place on int32 indices; returns the bits as int64. The masks after `>>` make the shifts logical."""
    words *= signed(key.first)
    words += signed(key.second)
    words ^= (words >> 16).bitwise_and_(0xFFFF)
    words *= signed(_MULTIPLIERS[0])
    words ^= (words >> 15).bitwise_and_(0x1FFFF)
    words *= signed(_MULTIPLIERS[1])
    words ^= (words >> 16).bitwise_and_(0xFFFF)
    return words.to(torch.int64).bitwise_and_(_WORD)


def signed(word: int, bits: int = 32) -> int:
    """An unsigned word as the signed integer of the same bits."""
    return word - 2**bits if word >= 2 ** (bits - 1) else word


def _splitmix64_each(value: Tensor) -> Tensor:
    """`_splitmix64` of every entry, on wrapping int64."""
    value = value + (0x9E3779B97F4A7C15 - 2**64)
    value = (value ^ ((value >> 30) & (2**34 - 1))) * (0xBF58476D1CE4E5B9 - 2**64)
    value = (value ^ ((value >> 27) & (2**37 - 1))) * (0x94D049BB133111EB - 2**64)
    return value ^ ((value >> 31) & (2**33 - 1))


def _splitmix64(value: int) -> int:
    mask = 2**64 - 1
    value = (value + 0x9E3779B97F4A7C15) & mask
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & mask
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & mask
    return value ^ (value >> 31)
