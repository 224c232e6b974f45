"""Top-p thresholds without a sort: counts over float bits, exact, and summable over the shards of a tensor.

The bits of a float without its sign order like its magnitude, +inf and NaN largest. Three levels of counts (12, 10 and
9 bits) find the k-th largest magnitude; where more entries than wanted sit on it, three more (11, 11 and 10 bits) over
their hash bits pick among them, and the hash is a bijection of the index, so that exactly k entries are kept.

Entries that are exactly 0 are not told apart: a threshold of 0 keeps them all, because a kept 0 and a dropped one are
the same. Only counts are exchanged between shards.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import reduce
from typing import NamedTuple

import torch
from torch import Tensor

from omsweep.merging.randomness import MaskKey, entry_bits

MAGNITUDE_LEVELS = ((19, 12), (9, 10), (0, 9))
TIE_LEVELS = ((21, 11), (10, 11), (0, 10))
NEAR_COLUMN = 16
FEW_MAGNITUDE_LEVELS = ((15, 16), (0, 15))
FEW_TIE_LEVELS = ((16, 16), (0, 16))
"""Where counts stay in one process, larger ones save passes."""


class TopThreshold(NamedTuple):
    """The least kept entry in the order (bits of |x|, hash bits). Entries at or above it are kept."""

    magnitude: int
    tie: int

    @property
    def value(self) -> float:
        """The magnitude as a number."""
        return float(torch.tensor(self.magnitude, dtype=torch.int32).view(torch.float32))


class Ranked(NamedTuple):
    """A tensor, or this process's shard of one, whose threshold is asked.

    Attributes:
        magnitudes: gives int32 `[entries]`, see `magnitude_bits`; called up to five times, so nothing need be held.
        ties: hash bits, int64, of given local positions.
        k: entries to keep, in the full tensor, >= 1.
    """

    magnitudes: Callable[[], Tensor]
    ties: Callable[[Tensor], Tensor]
    k: int


def magnitude_bits(x: Tensor) -> Tensor:
    """The bits of |x|, int32 `[x.numel()]`, for float32 `x`."""
    assert x.dtype == torch.float32, f"magnitudes are ordered as float32 bits, got {x.dtype}"
    return x.reshape(-1).view(torch.int32).bitwise_and(0x7FFFFFFF)


def top_thresholds(asked: Sequence[Ranked], total: Callable[[Tensor], Tensor]) -> list[TopThreshold]:
    """Thresholds of several tensors at once.

    Args:
        asked: the tensors; in a sharded run the same ones in the same order on every rank.
        total: sums an int64 tensor over the shards; called three times, and three times more if some tensor is tied at
            its threshold (never for ties at 0).
    """
    if not asked:
        return []
    cuts, wanted, present = _searched(
        lambda i, *level: level_counts(asked[i].magnitudes(), *level),
        [ranked.k for ranked in asked],
        MAGNITUDE_LEVELS,
        total,
    )
    tied = [i for i, cut in enumerate(cuts) if cut > 0 and present[i] > wanted[i]]
    ties: dict[int, int] = {}
    if tied:
        words = [asked[i].ties((asked[i].magnitudes() == cuts[i]).nonzero().squeeze(1)) for i in tied]
        left = [wanted[i] for i in tied]
        found, *_ = _searched(lambda i, *level: level_counts(words[i], *level), left, TIE_LEVELS, total)
        ties = dict(zip(tied, found, strict=True))
    return [TopThreshold(cut, ties.get(i, 0)) for i, cut in enumerate(cuts)]


def tie_threshold(bits: Tensor, keep: int) -> int:
    """The least hash kept of entries tied at a threshold; 0 where all are.

    Args:
        bits: of the tied entries, int64, all different.
        keep: how many of them to keep, >= 1.
    """
    return 0 if keep >= bits.numel() else int(bits.kthvalue(bits.numel() - keep + 1).values)


def threshold_among(near: Tensor, wanted: int, x: Tensor, key: MaskKey) -> TopThreshold | None:
    """The threshold of a full tensor if its magnitude lies in a bracket [low, high], low > 0; otherwise None.

    Few entries lie there, so that they are found by looking at the largest of every `NEAR_COLUMN` first.

    Args:
        near: |x| where it lies in the bracket, else 0; float32 `[a multiple of NEAR_COLUMN]`, 0 after the last of `x`.
        wanted: entries to keep of those in the bracket: k less those above it.
        x: float32, any shape; read again only for ties.
        key: breaks ties.
    """
    columns = near.view(NEAR_COLUMN, -1)
    found = columns.index_select(1, columns.amax(0).nonzero().squeeze(1))
    found = found[found > 0]
    if not 0 < wanted <= found.numel():
        return None
    cut = found.kthvalue(found.numel() - wanted + 1).values
    magnitude, more, tied = torch.stack([cut.view(torch.int32), (found > cut).sum(), (found == cut).sum()]).tolist()
    left = wanted - more
    if left == tied:
        return TopThreshold(magnitude, 0)
    return TopThreshold(
        magnitude, tie_threshold(entry_bits((x.reshape(-1).abs() == cut).nonzero().squeeze(1), key), left)
    )


def threshold_of_pieces(
    pieces: Callable[[], Iterable[tuple[int, Tensor]]], k: int, ties: Callable[[Tensor], Tensor]
) -> TopThreshold:
    """The threshold of one tensor that is never in memory as a whole; the same as `top_thresholds` finds.

    Args:
        pieces: gives the tensor in pieces, each the row-major index of its first entry and the entries' magnitudes
            (int32, see `magnitude_bits`); called twice, and twice more for ties at the threshold.
        k: entries to keep, >= 1.
        ties: hash bits, int64, of given row-major indices.
    """

    def magnitude_counts(_: int, *level: int) -> Tensor:
        return reduce(torch.add, (level_counts(words, *level) for _, words in pieces()))

    def tie_counts(_: int, *level: int) -> Tensor:
        tied = (ties((words == cut).nonzero().squeeze(1) + first) for first, words in pieces())
        return reduce(torch.add, (level_counts(words, *level) for words in tied))

    (cut,), (wanted,), (present,) = _searched(magnitude_counts, [k], FEW_MAGNITUDE_LEVELS)
    if cut == 0 or present == wanted:
        return TopThreshold(cut, 0)
    return TopThreshold(cut, _searched(tie_counts, [wanted], FEW_TIE_LEVELS)[0][0])


def level_counts(words: Tensor, shift: int, width: int, prefix: int) -> Tensor:
    """How many words with `prefix` above this level have each value of its `width` bits; int64 `[2^width]`."""
    top = words >> shift
    if shift + width < 31:  # below the first level
        top = top[(top >> width) == prefix] & ((1 << width) - 1)
    return torch.bincount(top, minlength=1 << width)


def _searched(
    counts: Callable[..., Tensor],
    wanted: list[int],
    levels: Sequence[tuple[int, int]],
    total: Callable[[Tensor], Tensor] = lambda counts: counts,
) -> tuple[list[int], list[int], list[int]]:
    """Per tensor: the wanted-th largest word, how many words equal to it are wanted, how many there are.

    `counts(i, shift, width, prefix)`: the `level_counts` of tensor i.
    """
    prefixes, present = [0] * len(wanted), [0] * len(wanted)
    for shift, width in levels:
        found = total(torch.stack([counts(i, shift, width, prefix) for i, prefix in enumerate(prefixes)]))
        from_top = found.flip(1).cumsum(1)
        asked = torch.tensor(wanted, dtype=from_top.dtype, device=from_top.device).unsqueeze(1)
        rank = torch.searchsorted(from_top, asked).clamp_(max=from_top.shape[1] - 1)
        # of the bin with the wanted-th largest word: its place from the top, words down to its end, words in it
        rows = torch.cat([rank, from_top.gather(1, rank), found.flip(1).gather(1, rank)], dim=1).tolist()
        prefixes = [((prefix + 1) << width) - 1 - row[0] for prefix, row in zip(prefixes, rows, strict=True)]
        wanted = [k - (row[1] - row[2]) for k, row in zip(wanted, rows, strict=True)]
        present = [row[2] for row in rows]
    return prefixes, wanted, present
