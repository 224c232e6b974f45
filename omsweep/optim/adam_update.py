"""AdamW's displacement, in the form that torch.optim.AdamW computes it on CPU."""

from torch import Tensor


def advance_moments(grad: Tensor, exp_avg: Tensor, exp_avg_sq: Tensor, *, beta1: float, beta2: float) -> None:
    """Move both moments one step, in place; all float32, one shape."""
    exp_avg.lerp_(grad, 1 - beta1)
    exp_avg_sq.mul_(beta2).addcmul_(grad, grad, value=1 - beta2)


def adam_update(
    exp_avg: Tensor,
    exp_avg_sq: Tensor,
    *,
    step: float,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
) -> Tensor:
    """delta = -lr / bc1 * m / (sqrt(v) / sqrt(bc2) + eps), bc = 1 - beta^step: bias-corrected, without weight decay.

    In this order `weights + delta` is torch.optim.AdamW's result bit for bit in float32 on CPU.

    Args:
        exp_avg: m, float32.
        exp_avg_sq: v, float32.
        step: number of moment updates so far, from 1.
        lr: learning rate.
        beta1: decay of m.
        beta2: decay of v.
        eps: added to the corrected sqrt(v).
    """
    step_size = lr / (1 - beta1**step)
    denominator = (exp_avg_sq.sqrt() / (1 - beta2**step) ** 0.5).add_(eps)
    return exp_avg.mul(-step_size).div_(denominator)
