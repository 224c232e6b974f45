"""Blocks: where the entries of a piece lie in its full tensor."""

import pytest
import torch

from omsweep.merging.block import cut_block, whole
from omsweep.merging.randomness import keep_random, mask_key, uniform_bits

KEY = mask_key(0, 1, "update", "w")
SHAPE = (5, 6, 4)
PIECES = [
    (slice(1, 4), slice(None), slice(None)),
    (slice(None), slice(2, 5), slice(None)),
    (slice(None), slice(None), slice(1, 2)),
    (slice(None), slice(None), slice(None)),
    (slice(2, 2), slice(None), slice(None)),
]


def piece_and_block(cut: tuple[slice, ...]):
    index = torch.arange(5 * 6 * 4).view(SHAPE)
    piece = index[cut]
    offset = [s.start or 0 for s in cut]
    return index, piece, cut_block(SHAPE, tuple(piece.shape), offset)


@pytest.mark.parametrize("cut", PIECES)
def test_positions_and_indices_are_inverse(cut: tuple[slice, ...]) -> None:
    index, piece, block = piece_and_block(cut)
    assert torch.equal(block.index_of(torch.arange(piece.numel())), piece.reshape(-1))
    here, positions = block.positions_of(index.view(-1), piece.numel())
    assert torch.equal(index.view(-1)[here], piece.reshape(-1))
    assert torch.equal(positions, torch.arange(piece.numel()))


@pytest.mark.parametrize("cut", PIECES)
def test_a_piece_draws_its_part_of_the_mask(cut: tuple[slice, ...]) -> None:
    index, piece, block = piece_and_block(cut)
    everything = keep_random(index.numel(), 0.4, KEY).view(SHAPE)
    assert torch.equal(keep_random(piece.numel(), 0.4, KEY, block=block).view(piece.shape), everything[cut])
    bits = uniform_bits(index.numel(), KEY).view(SHAPE)
    assert torch.equal(uniform_bits(piece.numel(), KEY, block=block).view(piece.shape), bits[cut])


def test_two_cut_dimensions_are_refused() -> None:
    with pytest.raises(ValueError, match="must be sharded along one dimension"):
        cut_block((4, 4), (2, 2), (0, 0))
    assert whole(0).run == 1
