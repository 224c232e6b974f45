"""What is seen of watched entries at a merge, and summed over them."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from omsweep.optim.sharding import Groups
from omsweep.optim.watched import Watched

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
