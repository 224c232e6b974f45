"""The mathematics of offline merging: theta_start + C_i(w_i S(theta_end_i - theta_origin_i)), one piece at a time.

An entry's result depends on the entry itself, on its index and, for a top-p mask, on a threshold of the whole tensor,
which is counted in passes of its own: pieces of any size give the bits that the whole tensor gives.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import chain
from typing import Literal

import torch
from torch import Tensor

from omsweep.merging.block import Block
from omsweep.merging.randomness import MaskKey, entry_bits, mask_key
from omsweep.merging.sources import Readable, pieces
from omsweep.merging.sparsify import SPARSIFIERS, kept_count, sparsify
from omsweep.merging.threshold import TopThreshold, magnitude_bits, threshold_of_pieces


@dataclass(frozen=True, kw_only=True)
class OfflineMethod:
    """One row of the table.

    Attributes:
        sparsifier: which entries are kept, a key of `SPARSIFIERS`.
        rescale: of kept entries, see `sparsify`.
        combine: consensus of the weighted terms, entry by entry, given them and their weights.
        source: where it is published.
    """

    sparsifier: Literal["all", "random", "top"] = "all"
    rescale: Literal["none", "inverse"] = "none"
    combine: Callable[[Sequence[Tensor], Sequence[float]], Tensor]
    source: str


def summed(terms: Sequence[Tensor], _weights: Sequence[float] = ()) -> Tensor:
    """Sum over terms of one shape, from the first to the last."""
    return reduce(torch.add, terms)


def agreeing_sum(terms: Sequence[Tensor], _weights: Sequence[float]) -> Tensor:
    """Sum of the terms whose sign is that of the sum of all; terms of one shape."""
    elected = torch.sign(summed(terms))
    return summed([torch.where(torch.sign(term) == elected, term, 0.0) for term in terms])


def agreeing_mean(terms: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    """`agreeing_sum` over the sum of the agreeing terms' |w_i|: the mean of S(x_i) over the models that agree.

    With equal weights it is arXiv:2306.01708's disjoint mean; with others mergekit's `ties` with `normalize`. Where no
    term agrees it is 0, and a factor common to all weights cancels.
    """
    elected = torch.sign(summed(terms))
    shares = [(torch.sign(term) == elected).to(term.dtype) * abs(w) for term, w in zip(terms, weights, strict=True)]
    share = summed(shares)
    return agreeing_sum(terms, weights) / torch.where(share > 0.0, share, 1.0)


OFFLINE_METHODS: Mapping[str, OfflineMethod] = {
    "linear": OfflineMethod(combine=summed, source="arXiv:2203.05482"),
    "task_arithmetic": OfflineMethod(combine=summed, source="arXiv:2212.04089"),
    "dare": OfflineMethod(sparsifier="random", rescale="inverse", combine=summed, source="arXiv:2311.03099"),
    "ties": OfflineMethod(sparsifier="top", combine=agreeing_mean, source="arXiv:2306.01708"),
    "ties_sum": OfflineMethod(sparsifier="top", combine=agreeing_sum, source="arXiv:2306.01708, without its mean"),
}


@dataclass(frozen=True, kw_only=True)
class Mixture:
    """Which models are put together, and how.

    Attributes:
        method: a row of `OFFLINE_METHODS`.
        start: the model that is moved, by its name among the models.
        differences: (end, origin) of each term, by name.
        density: p in (0, 1].
        seed: keys masks and ties.
    """

    method: OfflineMethod
    start: str
    differences: tuple[tuple[str, str], ...]
    density: float = 1.0
    seed: int = 0


def mixed_pieces(
    mixture: Mixture, tensors: Mapping[str, Readable], weights: Sequence[float], *, name: str, device: torch.device
) -> Iterator[Tensor]:
    """One tensor's merge in pieces of `PIECE_ENTRIES`: flat, float64, on `device`.

    Args:
        mixture: what to compute.
        tensors: the tensor in each model, all of one shape.
        weights: w_i, one for each difference.
        name: keys its masks.
        device: where to compute.
    """
    keys = [mask_key(mixture.seed, number, "offline", name) for number in range(len(mixture.differences))]
    thresholds = [
        _threshold(mixture, tensors[end], tensors[origin], key, device)
        for (end, origin), key in zip(mixture.differences, keys, strict=True)
    ]
    used = list(dict.fromkeys((mixture.start, *chain(*mixture.differences))))
    total = tensors[mixture.start].shape.numel()
    for together in zip(*(pieces(tensors[model]) for model in used), strict=True):
        low = together[0][0]
        values = {model: _exact(entries, device) for model, (_, entries) in zip(used, together, strict=True)}
        count = values[mixture.start].numel()
        block = Block(total, low, count, count)
        terms = []
        for (end, origin), weight, key, threshold in zip(mixture.differences, weights, keys, thresholds, strict=True):
            delta = values[end] - values[origin]
            terms.append(weight * _sparse(mixture, delta, key, block, threshold))
        yield values[mixture.start] + mixture.method.combine(terms, weights)


def _sparse(mixture: Mixture, delta: Tensor, key: MaskKey, block: Block, threshold: TopThreshold | None) -> Tensor:
    """S(delta) of a piece; masks look at float32."""
    mask, keep = SPARSIFIERS[mixture.method.sparsifier].mask, None
    if mask is not None:
        keep = mask(delta.float(), density=mixture.density, min_kept=1, key=key, block=block, threshold=threshold)
    return sparsify(delta, keep, density=mixture.density, rescale=mixture.method.rescale)


def _threshold(
    mixture: Mixture, end: Readable, origin: Readable, key: MaskKey, device: torch.device
) -> TopThreshold | None:
    """The threshold of a whole difference; None where the method asks none or all is kept."""
    total = end.shape.numel()
    k = kept_count(total, mixture.density, 1)
    if SPARSIFIERS[mixture.method.sparsifier].facts == "none" or k >= total:
        return None

    def magnitudes() -> Iterator[tuple[int, Tensor]]:
        for (low, a), (_, b) in zip(pieces(end), pieces(origin), strict=True):
            yield low, magnitude_bits((_exact(a, device) - _exact(b, device)).float())

    return threshold_of_pieces(magnitudes, k, lambda index: entry_bits(index, key))


def _exact(entries: Tensor, device: torch.device) -> Tensor:
    return entries.to(device=device, dtype=torch.float64)
