"""The entries of a parameter that are watched for the diagnostics, and what each stands for.

A task vector whose mask is known may keep few entries: these are a stratum of their own, sampled apart, so that what
merges there is seen however few they are. A sample belongs to the full tensor and is the same on any ranks.
"""

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
