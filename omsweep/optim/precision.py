"""How weights are held and added to, so that small movements survive.

    nearest      computed in float32, rounded to the parameter's dtype once; no extra memory
    stochastic   a float32 master weight, and the movement added to it rounded up or down with the probabilities that
                 make the sum right in expectation; the random bits are a function of (seed, step, name, index)
    lazy_tau     a float32 master weight; a task vector part that never changes its direction is collected as one
                 number and added every `LAZY_STEPS` steps, and by `flush`, which whoever saves or evaluates the model
                 calls first

The master weight of a bfloat16 parameter is the parameter itself and 16 more bits in the optimizer's state (2 bytes);
that of a float16 parameter is a float32 copy (4 bytes), because its exponent is shorter. A float32 one is its own.
"""

import logging
import warnings
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from omsweep.merging.methods import METHODS, method_names
from omsweep.optim.settings import ResolvedMerge

PRECISIONS = ("auto", "nearest", "stochastic", "lazy_tau")
LAZY_STEPS = 64
SMALL_ALPHA = 1e-5
"""Below this, alpha * tau of a typical fine-tuning (1e-3) is under half the spacing of float32 at a weight of 0.02."""

logger = logging.getLogger(__name__)


def pick_precision(precision: str, dtypes: Iterable[torch.dtype], *, smallest_alpha: float | None) -> str:
    """What `auto` stands for: `nearest` for float32 weights unless alpha is small, else `stochastic`.

    Args:
        precision: one of `PRECISIONS`.
        dtypes: of the parameters.
        smallest_alpha: the smallest merging weight above 0, None where no task vector takes part.

    Raises:
        ValueError: another name.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"precision must be one of {', '.join(PRECISIONS)}, got {precision!r}")
    if precision != "auto":
        return precision
    small = smallest_alpha is not None and smallest_alpha < SMALL_ALPHA
    return "stochastic" if small or any(dtype != torch.float32 for dtype in dtypes) else "nearest"


def precision_for(precision: str, merge: ResolvedMerge, parameters: Mapping[str, Tensor]) -> str:
    """The precision that is used, which must suit the merge; said in the log where it was picked."""
    alphas = [merge.alpha_of(name) for name in parameters] if merge.needs_task_vector else []
    smallest = min((alpha for alpha in alphas if alpha > 0.0), default=None)
    dtypes = {parameter.dtype for parameter in parameters.values()}
    picked = pick_precision(precision, dtypes, smallest_alpha=smallest)
    if picked == "lazy_tau" and not (METHODS[merge.method].tau_keeps_direction and merge.tau_is_fixed):
        raise ValueError(
            f"precision lazy_tau needs a task vector part that keeps its direction: method {_methods_for_lazy_tau()}, "
            f"got {merge.method} with tau_mask {merge.tau_mask}"
        )
    low = [name for name, parameter in parameters.items() if parameter.dtype != torch.float32]
    if picked == "nearest" and low:
        warnings.warn(
            f"{len(low)} parameters are {parameters[low[0]].dtype}: with precision nearest, steps smaller than half "
            "their spacing are lost to rounding; lost_update_share in diagnostics() says how much",
            stacklevel=3,
        )
    if precision == "auto":
        logger.info("precision auto: %s for weights in %s", picked, ", ".join(sorted(map(str, dtypes))))
    return picked


def _methods_for_lazy_tau() -> str:
    names = method_names(lambda method: method.tau_keeps_direction)
    return ", or ".join(f"{name} with tau_mask fixed" if "tau_mask" in METHODS[name].knobs else name for name in names)


def master_state(parameter: Tensor, precision: str) -> dict[str, Tensor]:
    """What the optimizer's state holds of a parameter's master weight, under the keys `low_bits` or `master`.

    The tensors are placed like the parameter, DTensors for a DTensor.
    """
    if precision == "nearest" or parameter.dtype == torch.float32:
        return {}
    if parameter.dtype == torch.bfloat16:
        return {"low_bits": torch.zeros_like(parameter, dtype=torch.int16)}
    return {"master": parameter.detach().to(torch.float32, copy=True)}


def read_weights(parameter: Tensor, state: Mapping[str, Any]) -> Tensor:
    """The weights as float32: the parameter itself where it is float32, else a fresh tensor. All tensors local."""
    if parameter.dtype == torch.float32:
        return parameter.detach()
    if "low_bits" in state:
        return join_bfloat16(parameter.detach(), state["low_bits"])
    if "master" in state:  # unless somebody wrote the parameter since
        return torch.where(state["master"].to(parameter.dtype) == parameter, state["master"], parameter.float())
    return parameter.detach().float()


def write_weights(parameter: Tensor, weights: Tensor, state: Mapping[str, Any]) -> None:
    """Put float32 weights back where `read_weights` found them."""
    if parameter.dtype == torch.float32:
        if weights.data_ptr() != parameter.data_ptr():
            parameter.copy_(weights)
        return
    if "low_bits" in state:
        high, low = split_bfloat16(weights)
        parameter.copy_(high)
        state["low_bits"].copy_(low)
        return
    if "master" in state:
        state["master"].copy_(weights)
    parameter.copy_(weights)


def split_bfloat16(weights: Tensor) -> tuple[Tensor, Tensor]:
    """float32 -> (the nearest bfloat16, int16 rest of the bits); `join_bfloat16` gives the same float32 back."""
    bits = weights.view(torch.int32)
    high = (bits + 0x8000) >> 16
    return high.to(torch.int16).view(torch.bfloat16), (bits - (high << 16)).to(torch.int16)


def join_bfloat16(high: Tensor, low: Tensor) -> Tensor:
    """(bfloat16, int16) -> float32."""
    return ((high.view(torch.int16).to(torch.int32) << 16) + low.to(torch.int32)).view(torch.float32)


def add_stochastic(weights: Tensor, movement: Tensor, bits: Tensor) -> Tensor:
    """weights + movement in float32, rounded up or down so that the mean over `bits` is the exact sum.

    The rounding error of the nearest sum is found exactly (Knuth's two-sum); the neighbour on its side is taken with
    probability |error| / spacing. Sums that are exact, and those that are not finite, are left as they are.

    Args:
        weights: float32.
        movement: float32, same shape.
        bits: int64 in [0, 2^32), same shape; the upper 24 count.
    """
    total = weights + movement
    part = total - weights
    error = (weights - (total - part)) + (movement - part)
    towards_larger = (error > 0) == (total > 0)
    neighbour = (total.view(torch.int32) + torch.where(towards_larger, 1, -1).to(torch.int32)).view(torch.float32)
    chance = (bits >> 8).to(torch.float32) * 2.0**-24 * (neighbour - total).abs()
    return torch.where(error.abs() > chance, neighbour, total)
