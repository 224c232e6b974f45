"""A merge method as a value: a sparsifier and a consensus, or a pull towards given weights."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol, TypeAlias

from torch import Tensor

from omsweep.merging.block import Block
from omsweep.merging.consensus import Parts, scaled
from omsweep.merging.randomness import MaskKey
from omsweep.merging.sparsify import keep_probability, sparsify
from omsweep.merging.threshold import TopThreshold

Facts: TypeAlias = TopThreshold | Tensor
"""What a mask has to know of the full tensor: the threshold of `top_mask`, or counts by magnitude for `spread`."""


class Mask(Protocol):
    """Chooses the kept entries of a tensor or of a shard of it; None keeps all."""

    def __call__(
        self, x: Tensor, *, density: Any, min_kept: int, key: MaskKey, block: Block | None = None, threshold: Any = None
    ) -> Tensor | None:
        """A bool tensor of the shape of `x`, or None."""
        ...


class Combine(Protocol):
    """A consensus of two sparsified tensors."""

    def __call__(self, update: Tensor, tau: Tensor, *, alpha: float) -> Parts:
        """The parts that stay."""
        ...


@dataclass(frozen=True, kw_only=True)
class MergeMethod:
    """One row of the table of methods.

    Attributes:
        mask: the sparsifier's choice, for update and task vector alike; None keeps all.
        facts: what the mask has to know of the full tensor, which a sharded run finds out together.
        consensus: combination by name of the sign election, `"none"` for methods without one.
        pull: `(weights, target, alpha) -> displacement`, added after the plain update; excludes the other three.
        target: what `pull` pulls to.
        source: where it is published.
    """

    mask: Mask | None = None
    facts: Literal["none", "threshold", "counts"] = "none"
    consensus: Mapping[str, Combine] | None = None
    pull: Callable[[Tensor, Tensor, float], Tensor] | None = None
    target: Literal["none", "reference", "average"] = "none"
    source: str


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
        update_facts: of the full update, as the method's `facts` says; None where it needs none.
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


def merge(
    method: MergeMethod,
    update: Tensor,
    tau: Tensor | None,
    *,
    alpha: float,
    axes: Axes,
    update_key: MaskKey,
    tau_key: MaskKey,
    shard: Shard | None = None,
) -> Merged:
    """C((1-alpha) S(update), alpha S(tau)) (arXiv:2405.17931 eq. 2), the tau term clamped after rescaling.

    Args:
        method: a row of `METHODS` that is no pull.
        update: the displacement to merge, float32.
        tau: the task vector, same shape, float32; None where it takes no part (alpha = 0 and no unweighted election).
        alpha: merging weight in [0, 1].
        axes: see `Axes`.
        update_key: keys the update's mask and ties.
        tau_key: keys the task vector's.
        shard: what `update` and `tau` are of the full tensors; None: they are all of it.
    """
    update_sparse = sparse_update(method, update, axes=axes, key=update_key, shard=shard)
    if tau is None:
        kept = scaled(update_sparse, 1.0 - alpha)
        return Merged(kept, update_sparse, None, kept, None)
    return combined(method, update_sparse, sparse_tau(method, tau, axes=axes, key=tau_key, shard=shard), alpha, axes)


def combined(method: MergeMethod, update_sparse: Tensor, tau_sparse: Tensor, alpha: float, axes: Axes) -> Merged:
    """The consensus of what two sparsifiers left."""
    if method.consensus is None:
        raise AssertionError("a method without consensus merges no task vector")
    parts = method.consensus[axes.elect](update_sparse, tau_sparse, alpha=alpha)
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
    """S(update), rescaled: what learning rates are matched for."""
    return _sparse(method, update, axes, key, shard, shard.update_facts if shard else None)


def sparse_tau(method: MergeMethod, tau: Tensor, *, axes: Axes, key: MaskKey, shard: Shard | None) -> Tensor:
    """S(tau), rescaled and then clamped."""
    sparse = _sparse(method, tau, axes, key, shard, shard.tau_facts if shard else None)
    return sparse if axes.clip is None else sparse.clamp(-axes.clip, axes.clip)


def _sparse(
    method: MergeMethod, x: Tensor, axes: Axes, key: MaskKey, shard: Shard | None, facts: Facts | None
) -> Tensor:
    density: Any = axes.density
    if method.facts == "counts" and axes.density < 1.0:
        density = keep_probability(x, counts=facts, density=axes.density, spread=axes.spread)
    keep = None
    if method.mask is not None:
        keep = method.mask(
            x,
            density=density,
            min_kept=axes.min_kept,
            key=key,
            block=shard.block if shard else None,
            threshold=facts if method.facts == "threshold" else None,
        )
    return sparsify(x, keep, density=density, rescale=axes.rescale, total=shard.total if shard else None)
