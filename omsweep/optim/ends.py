"""Where watched entries went and what was merged in there, summed over a run, with standard errors."""

import math
from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from omsweep.optim.watched import Sample


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
