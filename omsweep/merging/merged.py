"""One merge of an update and a task vector, taken apart: what sparsifier and consensus of a method leave of them."""

from collections.abc import Callable
from typing import Any, NamedTuple

from torch import Tensor

from omsweep.merging.block import Block
from omsweep.merging.consensus import CONSENSUS
from omsweep.merging.methods import MergeMethod
from omsweep.merging.randomness import MaskKey
from omsweep.merging.sparsify import SPARSIFIERS, Facts, keep_probability, sparsify


class Axes(NamedTuple):
    """The plain values that fix a sparsifier and a consensus; see `docs/deviations.md`."""

    density: float = 1.0
    rescale: str = "none"
    elect: str = "none"
    clip: float | None = None
    min_kept: int = 1
    spread: float | None = None


class Shard(NamedTuple):
    """What merging a shard needs beyond its entries.

    Attributes:
        block: where they lie in the full tensor.
        update_facts: of the full update, as its `Sparsifier` says; None where it needs none.
        tau_facts: of the full task vector.
        total: sums a float64 tensor over the shards; only `norm` rescaling asks.
    """

    block: Block
    update_facts: Facts | None = None
    tau_facts: Facts | None = None
    total: Callable[[Tensor], Tensor] | None = None


class Merged(NamedTuple):
    """One merge, taken apart. Shapes and dtype are the update's; the tau members are None where tau takes no part.

    Attributes:
        movement: C((1-alpha) S(update), alpha S(tau)).
        update_sparse: S(update), unweighted.
        tau_sparse: S(tau), unweighted.
        update_kept: the part of the movement that comes from the update.
        tau_kept: the part that comes from tau.
    """

    movement: Tensor
    update_sparse: Tensor
    tau_sparse: Tensor | None
    update_kept: Tensor
    tau_kept: Tensor | None


def combined(method: MergeMethod, update_sparse: Tensor, tau_sparse: Tensor, alpha: float, axes: Axes) -> Merged:
    """C((1-alpha) S(update), alpha S(tau)) of what the sparsifier left (arXiv:2405.17931 eq. 2).

    Args:
        method: one that merges a task vector.
        update_sparse: S(update), float32.
        tau_sparse: S(tau), same shape, float32.
        alpha: merging weight in [0, 1].
        axes: see `Axes`.
    """
    parts = CONSENSUS[method.consensus, axes.elect](update_sparse, tau_sparse, alpha)
    return Merged(parts.update + parts.tau, update_sparse, tau_sparse, parts.update, parts.tau)


def gap_movement(update: Tensor, gap_update: Tensor, merged: Tensor) -> Tensor:
    """What a merge after K > 1 steps adds to weights that already moved by all but the last update of the gap.

    update + (merged - gap_update), in this bracketing: when the merge keeps everything the second term is exactly 0
    and the step is AdamW's, bit for bit.

    Args:
        update: the last update, delta_t.
        gap_update: the sum of the gap's updates, delta_t included.
        merged: C(...) of `gap_update`.
    """
    return update + (merged - gap_update)


def sparse_update(method: MergeMethod, update: Tensor, *, axes: Axes, key: MaskKey, shard: Shard | None) -> Tensor:
    """S(update), rescaled: what displacement matching measures."""
    return _sparse(method, update, axes, key, shard, shard.update_facts if shard else None)


def sparse_tau(method: MergeMethod, tau: Tensor, *, axes: Axes, key: MaskKey, shard: Shard | None) -> Tensor:
    """S(tau), rescaled and then clamped."""
    sparse = _sparse(method, tau, axes, key, shard, shard.tau_facts if shard else None)
    return sparse if axes.clip is None else sparse.clamp(-axes.clip, axes.clip)


def _sparse(
    method: MergeMethod, x: Tensor, axes: Axes, key: MaskKey, shard: Shard | None, facts: Facts | None
) -> Tensor:
    density: Any = axes.density
    sparsifier = SPARSIFIERS[method.sparsifier]
    if sparsifier.facts == "counts" and axes.density < 1.0:
        density = keep_probability(x, counts=facts, density=axes.density, spread=axes.spread)
    keep = None
    if sparsifier.mask is not None:
        keep = sparsifier.mask(
            x,
            density=density,
            min_kept=axes.min_kept,
            key=key,
            block=shard.block if shard else None,
            threshold=facts if sparsifier.facts == "threshold" else None,
        )
    return sparsify(x, keep, density=density, rescale=axes.rescale, total=shard.total if shard else None)
