"""A merge method as a value: a sparsifier and a consensus, or a pull towards given weights."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from torch import Tensor

from omsweep.merging.consensus import Parts, scaled
from omsweep.merging.randomness import MaskKey
from omsweep.merging.sparsify import sparsify


class Mask(Protocol):
    """Chooses the kept entries of a full tensor; None keeps all."""

    def __call__(self, x: Tensor, *, density: float, min_kept: int, key: MaskKey) -> Tensor | None:
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
        consensus: combination by name of the sign election, `"none"` for methods without one.
        pull: `(weights, target, alpha) -> weights`, applied after the plain update; excludes the other two.
        source: where it is published.
    """

    mask: Mask | None = None
    consensus: Mapping[str, Combine] | None = None
    pull: Callable[[Tensor, Tensor, float], Tensor] | None = None
    source: str


class Axes(NamedTuple):
    """The plain values that fix a sparsifier and a consensus; see `docs/deviations.md`."""

    density: float = 1.0
    rescale: str = "none"
    elect: str = "none"
    clip: float | None = None
    min_kept: int = 1


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
) -> Merged:
    """C((1-alpha) S(update), alpha S(tau)) (arXiv:2405.17931 eq. 2), the tau term clamped after rescaling.

    Args:
        method: a row of `METHODS` that is no pull.
        update: the displacement to merge, full tensor, float32.
        tau: the task vector, same shape, float32; None where it takes no part (alpha = 0 and no unweighted election).
        alpha: merging weight in [0, 1].
        axes: see `Axes`.
        update_key: keys the update's mask and ties.
        tau_key: keys the task vector's.
    """
    update_sparse = _sparse(method, update, axes, update_key)
    if tau is None:
        kept = scaled(update_sparse, 1.0 - alpha)
        return Merged(kept, update_sparse, None, kept, None)
    tau_sparse = _sparse(method, tau, axes, tau_key)
    if axes.clip is not None:
        tau_sparse = tau_sparse.clamp(-axes.clip, axes.clip)
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


def sparse_update(method: MergeMethod, update: Tensor, *, axes: Axes, key: MaskKey) -> Tensor:
    """S(update), rescaled: what displacement matching measures."""
    return _sparse(method, update, axes, key)


def _sparse(method: MergeMethod, x: Tensor, axes: Axes, key: MaskKey) -> Tensor:
    keep = method.mask(x, density=axes.density, min_kept=axes.min_kept, key=key) if method.mask else None
    return sparsify(x, keep, density=axes.density, rescale=axes.rescale)
