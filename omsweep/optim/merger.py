"""What an optimizer asks when it merges: settings opened once, tau and theta_r at hand, facts of sharded tensors."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from omsweep.merging.consensus import towards
from omsweep.merging.merged import Axes, Merged, Shard, combined, gap_movement, sparse_tau, sparse_update
from omsweep.merging.methods import METHODS
from omsweep.merging.randomness import MaskKey, entry_bits, mask_key
from omsweep.merging.sparsify import SPARSIFIERS, kept_count, magnitude_counts, ranked, top_threshold
from omsweep.merging.threshold import TopThreshold, magnitude_bits, tie_threshold
from omsweep.optim import reference as paper
from omsweep.optim import sharding
from omsweep.optim.settings import OnlineMerge, ResolvedMerge
from omsweep.optim.sharding import Piece
from omsweep.optim.task_vector import check_task_vector

SPARSE_BELOW = 0.4
"""A task vector whose mask is fixed is held as its kept entries (8 bytes each) under this density, else whole."""
MOST_TIES = 0.02
"""Entries of a task vector that are tied at its threshold are remembered up to this share of all."""


class KeptEntries(NamedTuple):
    """S(tau) of one piece: values at flat positions; everything else is 0."""

    positions: Tensor
    values: Tensor
    shape: tuple[int, ...]

    def dense(self) -> Tensor:
        """The whole piece, a fresh float32 tensor."""
        full = torch.zeros(self.shape, dtype=self.values.dtype, device=self.values.device).view(-1)
        return full.index_copy_(0, self.positions.long(), self.values).view(self.shape)


class Asked(NamedTuple):
    """An update about to be merged: name, piece and device, and a function that forms its local entries, float32."""

    name: str
    piece: Piece
    device: torch.device
    update: Callable[[], Tensor]


class Merger:
    """Merges one parameter at a time.

    Args:
        settings: what to merge.
        parameters: by canonical name.
        task_vector: tau by canonical name, float32 or a 16-bit type, which it stays; full tensors, or DTensors placed
            like the parameters. Needed where tau takes part; otherwise it only feeds diagnostics.
        reference: theta_r by canonical name, in the same forms, needed by `anchor`.
        path: `auto`, `plain`, `compiled` or `reference` (paper-literal, slow, full tensors only).

    Attributes:
        settings: resolved.
        method: its row of the table.
        axes: the plain values of the settings.
        literal: whether the reference tier merges.
        has_task_vector: whether a task vector was given.
        merged_in: whether it takes part.
        averaged: whether diagnostics average over masks in place of looking at those that were drawn.
        update_chance: with which they count what the update has where it is kept; 1 unless `averaged`.
        tau_chance: the same of tau, 1 too where its mask is fixed.

    Raises:
        ValueError: an unknown path, a missing task vector or reference, or one that does not fit the parameters, or a
            parameter for which alpha has no pattern.
    """

    def __init__(
        self,
        settings: OnlineMerge,
        parameters: Mapping[str, Tensor],
        *,
        task_vector: Mapping[str, Tensor] | None,
        reference: Mapping[str, Tensor] | None,
        path: str,
    ) -> None:
        if path not in PATHS:
            raise ValueError(f"path must be one of {', '.join(PATHS)}, got {path!r}")
        self.settings: ResolvedMerge = settings.resolved()
        self.method = METHODS[self.settings.method]
        self._facts = SPARSIFIERS[self.method.sparsifier].facts
        self.axes = axes_of(self.settings)
        self.literal = path == "reference"
        self.has_task_vector = task_vector is not None
        self.merged_in = self.settings.needs_task_vector
        self.averaged = self.method.masks_average_out and self.settings.density < 1.0
        self.update_chance = self.settings.density if self.averaged else 1.0
        self.tau_chance = 1.0 if self.settings.tau_is_fixed else self.update_chance
        self._tau = _checked("task vector", task_vector, parameters, self.settings.needs_task_vector)
        self._reference = _checked("reference", reference, parameters, self.settings.needs_reference)
        self._alphas = {name: self.settings.alpha_of(name) for name in parameters}
        self._tau_pieces: dict[str, Tensor | KeptEntries] = {}
        self._tau_facts: dict[str, Any] = {}
        self._tau_ties: dict[str, tuple[int, Tensor, int]] = {}

    def merges_at(self, step: int) -> bool:
        """Whether step t (from 1) ends a gap."""
        return step % self.settings.gap_steps == 0

    def alpha(self, name: str, *, lr: float, constructed_lr: float) -> float:
        """alpha_t of a parameter; `follow_lr`: alpha * lr / the group's learning rate at construction.

        Raises:
            ValueError: alpha_t would leave [0, 1].
        """
        alpha = self._alphas[name]
        if self.settings.alpha_schedule == "constant":
            return alpha
        followed = alpha * lr / constructed_lr if constructed_lr else float("nan")
        if not 0.0 <= followed <= 1.0:
            raise ValueError(
                f"alpha must be in [0, 1], and follow_lr makes it {followed} "
                f"(learning rate {lr}, at construction {constructed_lr})"
            )
        return followed

    def merge(self, name: str, update: Tensor, piece: Piece, *, step: int, alpha: float, facts: Any = None) -> Merged:
        """C((1-alpha) S(update), alpha S(tau)) of a parameter's piece at merge step `step`; float32.

        Args:
            facts: of the full update, from `update_facts`; None where the piece is all of it.
        """
        update_key = self.update_key(name, step)
        if self.literal:
            if piece.groups:
                raise ValueError(f"path must be plain or compiled for sharded parameters, got reference ({name})")
            tau = self.tau(name, piece, update.device) if self.merged_in else None
            keys = {"update_key": update_key, "tau_key": self.tau_key(name, step)}
            return paper.merge(self.method, update, tau, alpha=alpha, axes=self.axes, **keys)
        shard = self._shard(piece, facts)
        sparse = sparse_update(self.method, update, axes=self.axes, key=update_key, shard=shard)
        if not self.merged_in:
            return Merged(sparse, sparse, None, sparse, None)  # alpha is 0
        return combined(self.method, sparse, self.sparse_tau(name, piece, step, update.device), alpha, self.axes)

    def update_facts(self, asked: Sequence[Asked], step: int) -> dict[str, Any]:
        """What the masks have to know of sharded updates and task vectors, found for all of them together.

        Holds the update's facts by name; those of task vectors are remembered. Every rank must call it alike.
        """
        if self._facts == "none" or self.settings.density >= 1.0:
            return {}
        sharded = [a for a in asked if a.piece.groups]
        taus = [a for a in sharded if self.merged_in and a.name not in self._tau_pieces and not self._knows(a.name)]
        sources = [(a, "update", a.update) for a in sharded]
        sources += [(a, "tau", partial(self.tau, a.name, a.piece, a.device)) for a in taus]
        found = self._found(sources, step)
        self._tau_facts |= {a.name: facts for a, facts in zip(taus, found[len(sharded) :], strict=True)}
        return {a.name: facts for a, facts in zip(sharded, found, strict=False)}

    def gap_movement(self, update: Tensor, gap_update: Tensor, merged: Tensor) -> Tensor:
        """See `omsweep.merging.merged.gap_movement`."""
        return (paper.gap_movement if self.literal else gap_movement)(update, gap_update, merged)

    def pull(self, name: str, weights: Tensor, target: Tensor | None, alpha: float, piece: Piece) -> Tensor:
        """What is added to `weights` for a pull to theta_r (`anchor`) or to `target`, the average (`ema`)."""
        assert self.method.pull != "none", f"{self.settings.method} does not pull"
        if target is None:
            assert self._reference is not None, "asked for a tensor that was not needed at construction"
            target = _moved(self._reference, name, piece, weights.device).float()
        return towards(weights, target, alpha)

    def tau(self, name: str, piece: Piece, device: torch.device) -> Tensor:
        """A piece of the task vector, float32, on `device`; only while it is held whole."""
        return self.tau_as_held(name, piece, device).float()

    def tau_as_held(self, name: str, piece: Piece, device: torch.device) -> Tensor:
        """As `tau`, in the dtype it was given in."""
        assert self._tau is not None, "asked for a tensor that was not needed at construction"
        return _moved(self._tau, name, piece, device)

    def sparse_tau(self, name: str, piece: Piece, step: int, device: torch.device) -> Tensor:
        """S(tau) of a piece, rescaled and clamped; kept from the first time where it is the same at every merge."""
        held = self._tau_pieces.get(name)
        if held is not None:
            return held.dense() if isinstance(held, KeptEntries) else held
        tau, key = self.tau(name, piece, device), self.tau_key(name, step)
        masked = self._facts != "none" and self.settings.density < 1.0
        if masked and not piece.groups:
            self.tau_threshold(name, piece, step, device)
        shard = self._shard(piece, None, self._tau_facts.get(name))
        sparse = sparse_tau(self.method, tau, axes=self.axes, key=key, shard=shard)
        if self.settings.tau_is_fixed and self.settings.density < SPARSE_BELOW:
            self._hold(name, sparse)
        return sparse

    def where_kept(self, x: Tensor) -> Tensor:
        """What S leaves of entries that it keeps, but for a clamp, where masks are averaged over."""
        return x / self.settings.density if self.settings.rescale in ("inverse", "norm") else x

    def whole_tau(self, name: str, device: torch.device) -> Tensor | None:
        """All of a task vector, flat, float32; gathered where it is sharded. To be asked before anything is merged."""
        return None if self._tau is None else sharding.full(self._tau[name]).to(device).float().reshape(-1)

    def tau_where_kept(self, name: str, tau: Tensor) -> tuple[Tensor, bool]:
        """What S leaves of a whole task vector where it keeps it, and whether 0 says that it never does.

        Args:
            name: canonical.
            tau: from `whole_tau`.
        """
        known = self.settings.tau_is_fixed or self.method.sparsifier == "top"  # but for ties, broken anew
        if known and self.settings.density < 1.0:
            key = self.tau_key(name, 1)
            return sparse_tau(self.method, tau, axes=self.axes, key=key, shard=None), True
        bound, brought = self.axes.clip, self.where_kept(tau) if self.averaged else tau
        return (brought if bound is None else brought.clamp(-bound, bound)), False

    def update_key(self, name: str, step: int) -> MaskKey:
        """Keys the mask of an update."""
        return mask_key(self.settings.seed, step, "update", name)

    def tau_key(self, name: str, step: int) -> MaskKey:
        """Keys the mask of the task vector."""
        return mask_key(self.settings.seed, 0 if self.settings.tau_is_fixed else step, "task_vector", name)

    def rounding_key(self, name: str, step: int) -> MaskKey:
        """Keys stochastic rounding."""
        return mask_key(self.settings.seed, step, "rounding", name)

    def tau_threshold(self, name: str, piece: Piece, step: int, device: torch.device) -> Any:
        """The threshold or counts of a task vector that is not sharded, see `Sparsifier.facts`."""
        if not self._knows(name):
            self._tau_facts[name] = self._own_facts(name, piece, step, device)
        return self._tau_facts[name]

    def _shard(self, piece: Piece, update_facts: Any, tau_facts: Any = None) -> Shard | None:
        if not piece.groups and update_facts is None and tau_facts is None:
            return None
        return Shard(piece.block, update_facts, tau_facts, sharding.summed(piece.groups))

    def _own_facts(self, name: str, piece: Piece, step: int, device: torch.device) -> Any:
        if self._facts == "counts":
            return magnitude_counts(self.tau(name, piece, device))
        key = self.tau_key(name, step)
        if name in self._tau_ties:  # the magnitude stays, and so do the entries that have it
            magnitude, positions, keep = self._tau_ties[name]
            return TopThreshold(magnitude, tie_threshold(entry_bits(positions.long(), key), keep))
        tau = self.tau(name, piece, device).reshape(-1)
        k = kept_count(tau.numel(), self.settings.density, self.axes.min_kept)
        found = top_threshold(tau, k, key) if k < tau.numel() else None
        if found is not None and found.tie > 0:
            bits = magnitude_bits(tau)
            positions = (bits == found.magnitude).nonzero().squeeze(1)
            keep = k - int((bits > found.magnitude).sum())
            if positions.numel() <= MOST_TIES * tau.numel():
                self._tau_ties[name] = found.magnitude, positions.to(torch.int32), keep
        return found

    def _found(self, sources: Sequence[tuple[Asked, str, Callable[[], Tensor]]], step: int) -> list[Any]:
        if self._facts == "counts":
            return sharding.counts([(a.piece.groups, source) for a, _, source in sources])
        asked = []
        for a, stream, source in sources:
            k = kept_count(a.piece.block.total, self.settings.density, self.axes.min_kept)
            key = self.update_key(a.name, step) if stream == "update" else self.tau_key(a.name, step)
            asked.append((a.piece.groups, ranked(source, k, key, block=a.piece.block)))
        return sharding.thresholds(asked)

    def _knows(self, name: str) -> bool:
        """Whether the task vector's facts hold at every merge: ties are broken anew where its mask is drawn anew."""
        if name not in self._tau_facts:
            return False
        facts = self._tau_facts[name]
        return facts is None or self._facts == "counts" or self.settings.tau_is_fixed or facts.tie == 0

    def _hold(self, name: str, sparse: Tensor) -> None:
        flat = sparse.reshape(-1)
        positions = flat.nonzero().squeeze(1)
        index = positions.to(torch.int32) if flat.numel() < 2**31 else positions
        self._tau_pieces[name] = KeptEntries(index, flat[positions], tuple(sparse.shape))
        assert self._tau is not None, "a task vector was merged"
        self._tau[name] = _RELEASED


PATHS = ("auto", "plain", "compiled", "reference")
_RELEASED = torch.empty(0)


def axes_of(settings: ResolvedMerge) -> Axes:
    """The plain values of resolved settings that the mathematics takes."""
    return Axes(
        density=settings.density,
        rescale=settings.rescale or "none",
        elect=settings.elect or "none",
        clip=settings.clip,
        min_kept=1 if settings.min_kept is None else settings.min_kept,
        spread=settings.spread,
    )


def retained_share_of(updates: Mapping[str, Tensor], *, merge: OnlineMerge, step: int = 1) -> float:
    """sum |S(delta)| / sum |delta| over all tensors, for which learning rates are matched.

    S is as `merge` has it, rescaling included; (1 - alpha) is not.

    Args:
        updates: displacement by canonical name, such as `OnlineMergeAdamW.updates()` of a plain AdamW run; sharded
            ones are gathered one after another, by all ranks together.
        merge: method, density, rescale, min_kept and seed count; alpha does not.
        step: keys masks and ties.

    Raises:
        ValueError: no tensors, or nothing moved.
    """
    settings = merge.resolved()
    method, axes = METHODS[settings.method], axes_of(settings)
    before = after = 0.0
    for name, given in updates.items():
        key, update = mask_key(settings.seed, step, "update", name), sharding.full(given)
        after += float(sparse_update(method, update.float(), axes=axes, key=key, shard=None).abs().double().sum())
        before += float(update.abs().double().sum())
    if before == 0.0:
        raise ValueError(f"updates must hold a movement, got {len(updates)} tensors that sum to 0")
    return after / before


def _checked(
    what: str, given: Mapping[str, Tensor] | None, parameters: Mapping[str, Tensor], needed: bool
) -> dict[str, Tensor] | None:
    if given is None:
        if needed:
            raise ValueError(f"{what.replace(' ', '_')} must be given: these merge settings need it, got None")
        return None
    check_task_vector(given, parameters, what=what)
    return dict(given)


def _moved(tensors: dict[str, Tensor], name: str, piece: Piece, device: torch.device) -> Tensor:
    """The piece of `name` on the parameter's device, in its own dtype; moved once, and never copied where it lies."""
    held = tensors[name]
    if sharding.is_sharded(held) or tuple(held.shape) != piece.shape:
        held = sharding.cut(held, piece)
    if held.device != device:
        held = tensors[name] = held.detach().to(device=device)
    return held
