"""The entries of a parameter that are watched for the diagnostics, what is seen of them at a merge, where they end.

A task vector whose mask is known may keep few entries: these are a stratum of their own, sampled apart, so that what
merges there is seen however few they are. A sample belongs to the full tensor and is the same on any ranks.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from omsweep.merging.randomness import sample_index
from omsweep.optim.sharding import Groups

KEPT_IN = 4
"""One kept entry of tau is watched for so many others: single entries cost a wait for memory each."""


class Sample(NamedTuple):
    """The watched entries of a full tensor.

    Attributes:
        index: row-major, int64 `[entries]`.
        weight: entries that each stands for, float32 `[entries]`.
        tau: task vector there, float32 `[entries]`; 0 where none is given.
        brought: what is left of tau there where it is kept: rescaled and clamped, float32 `[entries]`.
        scale: of `weight` for what comes of tau: such that the sum of brought * tau is that over all entries.
        tau_square: sum of tau^2 over all entries.
        tau_zeros: how many are 0.
    """

    index: Tensor
    weight: Tensor
    tau: Tensor
    brought: Tensor
    scale: float
    tau_square: float
    tau_zeros: int

    def on(self, device: torch.device) -> "Sample":
        """The same with its tensors there."""
        moved = {name: getattr(self, name).to(device) for name in ("index", "weight", "tau", "brought")}
        return self._replace(**moved)


def sample_of(name: str, total: int, size: int, tau: Tensor | None, brought: Tensor | None, kept_known: bool) -> Sample:
    """The watched entries of a full tensor of `total` entries.

    Args:
        name: canonical.
        total: entries.
        size: how many to watch; of those that tau keeps `size` / `KEPT_IN` more.
        tau: the task vector, flat float32; None without.
        brought: of `Sample`, for all entries; None where tau takes no part.
        kept_known: whether tau is kept exactly where `brought` is not 0, at every merge.
    """
    index, weight = _chosen(name, total, size, brought if kept_known else None)
    if tau is None:
        return Sample(index, weight, torch.zeros_like(weight), torch.zeros_like(weight), 1.0, 0.0, 0)
    here = index.to(tau.device)
    own, square, zeros = tau[here].cpu(), _product(tau, tau), int((tau == 0).sum())
    if brought is None:
        return Sample(index, weight, own, torch.zeros_like(own), 1.0, square, zeros)
    its = brought[here].cpu()
    seen, every = float((weight * its).double() @ own.double()), _product(brought, tau)
    return Sample(index, weight, own, its, every / seen if seen > 0.0 else 1.0, square, zeros)


def _chosen(name: str, total: int, size: int, kept: Tensor | None) -> tuple[Tensor, Tensor]:
    """Indices of the entries to watch and the entries that each stands for; those where `kept` is not 0 apart."""
    index = sample_index(total, size, name)
    if kept is None or index.numel() == total:
        return index, torch.full((index.numel(),), total / max(1, index.numel()))
    merged = kept.nonzero().squeeze(1).cpu()
    chosen = merged[sample_index(merged.numel(), max(1, size // KEPT_IN), name, run=1)]
    others = index[(kept[index.to(kept.device)] == 0).cpu()]
    strata = ((chosen, merged.numel()), (others, total - merged.numel()))
    weight = torch.cat([torch.full((few.numel(),), every / max(1, few.numel())) for few, every in strata])
    index, order = torch.cat([chosen, others]).sort()
    return index, weight[order]


class Watched(NamedTuple):
    """The entries of one parameter that are watched and lie here.

    Attributes:
        entries: their positions in the local tensor; None: all of it, in order.
        slots: their places in the parameter's sample, of which other ranks may hold the rest; None: all, in order.
        sample: all of it, on the parameter's device.
        groups: ranks over which the parameter is spread.
    """

    entries: Tensor | None
    slots: Tensor | None
    sample: Sample
    groups: Groups

    def take(self, x: Tensor) -> Tensor:
        """The watched entries of a local tensor, flat, float32, never sharing memory with a parameter."""
        flat = x.reshape(-1)
        return (flat.clone() if self.entries is None else flat.index_select(0, self.entries)).float()

    def here(self) -> int:
        """How many of the sample lie here."""
        return self.sample.index.numel() if self.slots is None else self.slots.numel()

    def weights(self) -> tuple[Tensor, Tensor]:
        """Entries that those here stand for, and the same for what comes of tau."""
        weight = self.own(self.sample.weight)
        return weight, weight * self.sample.scale

    def own(self, sample: Tensor) -> Tensor:
        """This rank's part of a whole sample."""
        return sample if self.slots is None else sample.index_select(0, self.slots)

    def spread(self, part: Tensor) -> Tensor:
        """This rank's part in its places of a whole sample, 0 elsewhere."""
        if self.slots is None:
            return part
        return torch.zeros_like(self.sample.weight, dtype=part.dtype).index_copy_(0, self.slots, part)


def _product(left: Tensor, right: Tensor) -> float:
    """<left, right> in float64, in pieces."""
    pieces = zip(left.split(2**22), right.split(2**22), strict=True)
    return sum(float(a.double() @ b.double()) for a, b in pieces)


SEEN = ("part", "applied", "whole", "sparse", "update_term", "tau_term", "dropped")
"""Of each watched entry at a merge: what was merged in, what of it arrived, Delta, S(Delta), both weighted terms before
consensus, and what consensus drops of the update's. Where masks are drawn anew they are what they are if it is kept."""
SUMS = ("tau_square", "update_square", "retained", "whole", "survived", "intended", "update", "dropped", "merge")
TOTALS = ("merges", "ratio", "retained", "survived", "intended", "tau_square", "update_square", "update", "dropped")
"""Over all merges: their number, the sums of `merge_ratio` and `retained_share`, and sums of `SUMS`."""
NO_TOTALS = (0.0,) * len(TOTALS)


class Room(NamedTuple):
    """The watched entries of parameters that are spread over the same ranks.

    Attributes:
        weight: entries that each stands for, float32 `[entries]`.
        tau_weight: the same for what comes of tau, as `weight`.
        seen: `SEEN` of the last merge, float32 `[entries, 7]`.
        parts: the part of `seen` of each parameter.
    """

    weight: Tensor
    tau_weight: Tensor
    seen: Tensor
    parts: dict[str, Tensor]


class Rooms(NamedTuple):
    """`Room` by groups, for parameters in this order."""

    names: Sequence[str]
    of: dict[Groups, Room]


def rooms_of(watched: Mapping[str, Watched]) -> dict[Groups, Room]:
    """`Room` by groups for the watched entries of parameters."""
    by_groups: dict[Groups, list[str]] = {}
    for name, its in watched.items():
        by_groups.setdefault(its.groups, []).append(name)
    rooms = {}
    for groups, names in by_groups.items():
        weight, tau_weight = (
            torch.cat(both) for both in zip(*[watched[name].weights() for name in names], strict=True)
        )
        seen = torch.zeros(len(weight), len(SEEN), dtype=torch.float32, device=weight.device)
        parts = seen.split([watched[name].here() for name in names])
        rooms[groups] = Room(weight, tau_weight, seen, dict(zip(names, parts, strict=True)))
    return rooms


def sums_of(weight: Tensor, tau_weight: Tensor, merge: Tensor, seen: Sequence[Tensor]) -> Tensor:
    """`SUMS` over entries.

    Args:
        weight: entries that each stands for, float32 `[entries]`, as are all.
        tau_weight: the same for what comes of tau.
        merge: 1 where the entry was merged, 0 where only what was collected is added.
        seen: `SEEN`.

    Returns:
        float64 `[9]`.
    """
    weight, tau_weight, merge = weight.double(), tau_weight.double(), merge.double()
    part, applied, whole, sparse, update_term, tau_term, dropped = (x.double() for x in seen)
    terms = [
        tau_term * tau_term * tau_weight,
        update_term * update_term * weight,
        sparse.abs() * weight,
        whole.abs() * weight,
        applied * part * weight,
        part * part * weight,
        update_term.abs() * weight,
        dropped * weight,
        merge,
    ]
    return torch.stack([term.sum() for term in terms])


def sums_of_merge(seen: Tensor, weight: Tensor, tau_weight: Tensor) -> Tensor:
    """`sums_of` for entries that were all merged; `seen` is float32 `[entries, 7]`."""
    return sums_of(weight, tau_weight, torch.ones_like(weight), seen.unbind(1))


def totals_of(sums: Tensor, *, tau_chance: float, update_chance: float) -> Tensor:
    """`TOTALS` of each step.

    Args:
        sums: `SUMS` of each step, float64 `[steps, 9]`.
        tau_chance: with which the task vector's sums count, see `Merger`.
        update_chance: the same of the update's.

    Returns:
        float64 `[steps, 9]`.
    """
    of = dict(zip(SUMS, sums.unbind(1), strict=True))
    tau_square, update_square = tau_chance * of["tau_square"], update_chance * of["update_square"]
    merges = (of["merge"] > 0).double()
    ratio = torch.where(tau_square > 0, (tau_square / update_square).sqrt(), 0.0)
    retained = torch.where(of["whole"] > 0, update_chance * of["retained"] / of["whole"], 1.0)
    each = of | {"merges": merges, "ratio": merges * ratio, "retained": merges * retained}
    each |= {"tau_square": tau_square, "update_square": update_square}
    return torch.stack([each[name] for name in TOTALS], dim=1)


class Ends(NamedTuple):
    """Estimates over all entries.

    Attributes:
        along: <sum of merged-in parts, tau>.
        along_error: its standard error, from the choice of entries and from the masks that were drawn.
        merged: |sum of merged-in parts|.
        displacement: |weights - where they started|.
        displacement_error: its standard error, from the choice of entries.
    """

    along: float
    along_error: float
    merged: float
    displacement: float
    displacement_error: float


def ends_of(went: Iterable[tuple[Sample, Tensor, Tensor]], *, chance: float, tau_square: float) -> Ends:
    """Estimates from every parameter's (sample, way from the start, sum of merged-in parts), whole samples.

    With chance p < 1 an entry's merged-in part is what it is where it is kept, m; over masks drawn anew E|M|^2 =
    p^2 |m|^2 + (1 - p) sum over merges of p |part|^2, and <M, tau> has the variance p (1 - p) sum m^2 tau^2 / merges.

    Args:
        went: entries as the sample has them.
        chance: p, with which an entry of tau is kept where masks are averaged over, else 1.
        tau_square: sum over merges of p |part|^2.
    """
    sums = torch.zeros(6, dtype=torch.float64)
    for sample, moved, merged in went:
        sums += _sums(sample, moved.double(), merged.double()).cpu()
    along, sampled, fourth, square, moved_square, moved_noise = sums.tolist()
    drawn = (1.0 - chance) * tau_square
    per_merge = tau_square / (chance * square) if square > 0.0 else 0.0  # 1 / merges, at one alpha
    displacement = math.sqrt(moved_square)
    return Ends(
        along=chance * along,
        along_error=math.sqrt(chance**2 * sampled + chance * (1.0 - chance) * per_merge * fourth),
        merged=math.sqrt(chance**2 * square + drawn),
        displacement=displacement,
        displacement_error=math.sqrt(moved_noise) / (2.0 * displacement) if displacement > 0.0 else 0.0,
    )


def _sums(sample: Sample, moved: Tensor, merged: Tensor) -> Tensor:
    """Of one tensor: <M, tau>, its sampling variance, sum M^2 tau^2, |M|^2, |moved|^2, its sampling variance."""
    weight, tau = sample.weight.double(), sample.tau.double()
    scaled = weight * sample.scale
    along, expected = merged * tau, sample.brought.double() * tau
    rate = (scaled @ along) / (scaled @ expected).clamp_min(torch.finfo(torch.float64).tiny)
    noise = weight * (weight - 1.0).clamp_min(0.0)
    return torch.stack(
        [
            scaled @ along,
            noise @ (along - rate * expected).square(),
            scaled @ along.square(),
            scaled @ merged.square(),
            weight @ moved.square(),
            noise @ moved.pow(4),
        ]
    )
