"""The entries of a parameter that are watched for the diagnostics, and what is summed over them."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from omsweep.optim.sharding import Groups

SEEN = ("part", "applied", "whole", "sparse", "update_term", "tau_term")
"""Of each watched entry at a merge: what was merged in, what of it arrived, Delta, S(Delta), both weighted terms."""
SUMS = ("travel", "tau_square", "update_square", "retained", "whole", "survived", "intended", "merge")


class Watched(NamedTuple):
    """The entries of one parameter that are watched and lie here.

    Attributes:
        entries: their positions in the local tensor; None: all of it, in order.
        slots: their places in the parameter's sample, of which other ranks may hold the rest; None: all, in order.
        size: of the whole sample.
        weight: entries that each stands for.
        groups: ranks over which the parameter is spread.
    """

    entries: Tensor | None
    slots: Tensor | None
    size: int
    weight: float
    groups: Groups

    def take(self, x: Tensor) -> Tensor:
        """The watched entries of a local tensor, flat, float32, never sharing memory with a parameter."""
        return self.pick(x).float()

    def pick(self, x: Tensor) -> Tensor:
        """As `take`, in the dtype of `x`."""
        flat = x.reshape(-1)
        return flat.clone() if self.entries is None else flat.index_select(0, self.entries)

    def here(self) -> int:
        """How many of the sample lie here."""
        return self.size if self.slots is None else self.slots.numel()

    def own(self, sample: Tensor) -> Tensor:
        """This rank's part of a whole sample."""
        return sample if self.slots is None else sample.index_select(0, self.slots)

    def spread(self, part: Tensor) -> Tensor:
        """This rank's part in its places of a whole sample, 0 elsewhere."""
        if self.slots is None:
            return part
        return torch.zeros(self.size, dtype=part.dtype, device=part.device).index_copy_(0, self.slots, part)


class Room(NamedTuple):
    """The watched entries of parameters that are spread over the same ranks.

    Attributes:
        weight: entries that each stands for, float32 `[entries]`.
        tau: task vector, as `weight`.
        seen: `SEEN` of the last merge, float32 `[entries, 6]`.
        parts: the part of `seen` of each parameter.
    """

    weight: Tensor
    tau: Tensor
    seen: Tensor
    parts: dict[str, Tensor]


class Rooms(NamedTuple):
    """`Room` by groups, for parameters in this order."""

    names: Sequence[str]
    of: dict[Groups, Room]


def rooms_of(watched: Mapping[str, Watched], taus: Mapping[str, Tensor]) -> dict[Groups, Room]:
    """`Room` by groups for the watched entries of parameters, `taus` being the task vector there, float32."""
    by_groups: dict[Groups, list[str]] = {}
    for name, its in watched.items():
        by_groups.setdefault(its.groups, []).append(name)
    rooms = {}
    for groups, names in by_groups.items():
        tau = torch.cat([taus[name] for name in names])
        weight = torch.cat([torch.full_like(taus[name], watched[name].weight) for name in names])
        seen = torch.zeros(len(tau), len(SEEN), dtype=torch.float32, device=tau.device)
        parts = seen.split([len(taus[name]) for name in names])
        rooms[groups] = Room(weight, tau, seen, dict(zip(names, parts, strict=True)))
    return rooms


def sums_of(weight: Tensor, tau: Tensor, merge: Tensor, seen: Sequence[Tensor]) -> Tensor:
    """`SUMS` over entries.

    Args:
        weight: entries that each stands for, float32 `[entries]`, as are all.
        tau: task vector.
        merge: 1 where the entry was merged, 0 where only what was collected is added.
        seen: `SEEN`.

    Returns:
        float64 `[8]`.
    """
    weight, tau, merge = weight.double(), tau.double(), merge.double()
    part, applied, whole, sparse, update_term, tau_term = (x.double() for x in seen)
    terms = [
        part * tau * weight,
        tau_term * tau_term * weight,
        update_term * update_term * weight,
        sparse.abs() * weight,
        whole.abs() * weight,
        applied * part * weight,
        part * part * weight,
        merge,
    ]
    return torch.stack([term.sum() for term in terms])


def sums_of_merge(seen: Tensor, weight: Tensor, tau: Tensor) -> Tensor:
    """`sums_of` for entries that were all merged; `seen` is float32 `[entries, 6]`."""
    return sums_of(weight, tau, torch.ones_like(weight), seen.unbind(1))
