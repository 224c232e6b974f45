"""Consensus: what is left of the weighted update and the weighted task vector where they meet.

Each function takes the sparsified tensors and returns the two parts that stay; the movement is their sum, and keeping
them apart lets the diagnostics see how far a run walks along the task vector.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor


class Parts(NamedTuple):
    """What of each term stays after consensus; same shape and dtype as the inputs."""

    update: Tensor
    tau: Tensor


def weighted_sum(update: Tensor, tau: Tensor, alpha: float) -> Parts:
    """(1 - alpha) * update + alpha * tau, as two parts (arXiv:2405.17931 eq. 3-4)."""
    return Parts(scaled(update, 1.0 - alpha), scaled(tau, alpha))


def sign_consensus(update: Tensor, tau: Tensor, alpha: float) -> Parts:
    """Sign consensus of the weighted terms (arXiv:2405.17931 eq. 5, 7).

    With u = (1 - alpha) * update and v = alpha * tau: equal signs add; opposite signs keep the larger magnitude; equal
    magnitudes of opposite sign give 0. Signs are compared, never multiplied out, so tiny terms do not underflow.
    """
    u, v = scaled(update, 1.0 - alpha), scaled(tau, alpha)
    opposite = torch.sign(u) * torch.sign(v) < 0
    drop_update = opposite & (u.abs() <= v.abs())
    drop_tau = opposite & (v.abs() <= u.abs())
    return Parts(torch.where(drop_update, 0.0, u), torch.where(drop_tau, 0.0, v))


def unweighted_sign_consensus(update: Tensor, tau: Tensor, alpha: float) -> Parts:
    """Sign consensus as released: the sign of update + tau, unweighted, is elected (an exact tie elects +).

    The weighted terms whose own sign is the elected one stay. alpha = 0 still elects with tau, so it is not AdamW.
    """
    elected = torch.where(update + tau >= 0, 1.0, -1.0)
    u, v = scaled(update, 1.0 - alpha), scaled(tau, alpha)
    keep_update = torch.sign(update) == elected
    keep_tau = torch.sign(tau) == elected
    return Parts(torch.where(keep_update, u, 0.0), torch.where(keep_tau, v, 0.0))


def towards(weights: Tensor, target: Tensor, alpha: float) -> Tensor:
    """alpha * (target - weights): what takes weights the share `alpha` of the way to `target`; 0 at alpha = 0."""
    return torch.zeros_like(weights) if alpha == 0.0 else alpha * (target - weights)


def scaled(x: Tensor, weight: float) -> Tensor:
    """`weight * x`; a weight of 1 is `x` itself and a weight of 0 is 0 even where `x` is not finite."""
    if weight == 1.0:
        return x
    return torch.zeros_like(x) if weight == 0.0 else x * weight


CONSENSUS: Mapping[tuple[str, str], Callable[[Tensor, Tensor, float], Parts]] = {
    ("sum", "none"): weighted_sum,
    ("sign", "weighted"): sign_consensus,
    ("sign", "unweighted"): unweighted_sign_consensus,
}
"""By `MergeMethod.consensus` and the sign election, `none` where there is none."""
