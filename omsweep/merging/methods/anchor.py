"""`anchor`: eq. 1 unrelaxed with a linear consensus, which is decoupled L2-SP."""

from torch import Tensor

from omsweep.merging.method import MergeMethod


def pull(weights: Tensor, target: Tensor, alpha: float) -> Tensor:
    """weights + alpha * (target - weights) = target + (1 - alpha) * (weights - target).

    In this form alpha = 0 returns `weights` bit for bit.

    Args:
        weights: theta + delta, after the plain update.
        target: theta_r, same shape.
        alpha: share of the distance walked back, in [0, 1].
    """
    return weights if alpha == 0.0 else weights + alpha * (target - weights)


ANCHOR = MergeMethod(pull=pull, source="arXiv:2405.17931 eq. 1; arXiv:1802.01483 (L2-SP)")
