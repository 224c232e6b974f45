"""Loading optimizer state: the names must be the same, and the precision is kept."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from omsweep.optim.names import canonical_name


def check_saved(
    state_dict: Mapping[str, Any], *, names: list[list[str]], keys: tuple[str, ...], same: Mapping[str, Any]
) -> None:
    """Check that a saved state continues the run at hand.

    Args:
        state_dict: what `state_dict()` gave.
        names: canonical parameter names, one list per group; a state without names passes.
        keys: what each saved group must hold.
        same: entries that must be the saved ones, such as `gap_steps`, because a gap may be under way.

    Raises:
        ValueError: it does not.
    """
    for group, own in zip(state_dict["param_groups"], names, strict=False):
        lacking = [key for key in keys if key not in group]
        if lacking:
            raise ValueError(f"the state was not saved by an online merging optimizer: no {', '.join(lacking)}")
        for key, value in same.items():
            if group[key] != value:
                raise ValueError(f"{key} must be {group[key]}, as when the state was saved, got {value}")
        saved = [canonical_name(name) for name in group.get("param_names", own)]
        if saved != own:
            at = next((i for i, (a, b) in enumerate(zip(saved, own, strict=False)) if a != b), len(saved))
            raise ValueError(f"the saved state names other parameters, or in another order, from number {at} on")


def restore_precision(optimizer: Optimizer, state_dict: Mapping[str, Any]) -> None:
    """Torch casts state to the parameters' dtype on loading; give float32 state of low-precision parameters back."""
    keys = [key for group in state_dict["param_groups"] for key in group["params"]]
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    for key, parameter in zip(keys, parameters, strict=True):
        state = optimizer.state.get(parameter, {})
        for entry, value in state_dict["state"].get(key, {}).items():
            if isinstance(value, Tensor) and value.dtype != state[entry].dtype:
                state[entry] = value.to(device=state[entry].device, copy=True)
