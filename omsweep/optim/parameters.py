"""Named parameters in groups: opened and checked at once, and checked against those of a saved state."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.optim import Optimizer

from omsweep.merging.names import canonical_name
from omsweep.merging.randomness import MAX_ENTRIES
from omsweep.optim.sharding import check_not_flattened

NamedParameters: TypeAlias = Iterable[tuple[str, Tensor]] | Iterable[Mapping[str, Any]]

DTYPES = (torch.float32, torch.bfloat16, torch.float16)


def open_groups(named_parameters: NamedParameters) -> list[dict[str, Any]]:
    """Groups of torch's form, `{"params": [(name, tensor), ...], ...}`, copied from either form of `named_parameters`.

    Raises:
        ValueError: nothing given, entries without a name, a name or tensor given twice, or a tensor that cannot be
            trained here (see `check_tensor`).
    """
    entries: list[Any] = list(named_parameters)
    if not entries:
        raise ValueError("named_parameters is empty")
    groups: list[dict[str, Any]] = [{"params": entries}]
    if isinstance(entries[0], Mapping):
        groups = [{**group, "params": list(group["params"])} for group in entries]
    names: set[str] = set()
    tensors: set[int] = set()
    for entry in (entry for group in groups for entry in group["params"]):
        name, tensor = _pair(entry)
        check_not_flattened(entry[0], tensor)
        if name in names:
            raise ValueError(f"parameter name {name} is given twice (wrapper prefixes do not count)")
        if id(tensor) in tensors:
            raise ValueError(f"parameter {name} is a tensor already given under another name")
        check_tensor(name, tensor)
        names.add(name)
        tensors.add(id(tensor))
    return groups


def check_tensor(name: str, tensor: Tensor) -> None:
    """Check that a parameter is one these optimizers can train.

    Raises:
        ValueError: a flattened (FSDP1, DeepSpeed ZeRO), sparse, complex or float64 parameter, or one of 2^32 entries or
            more.
    """
    check_not_flattened(name, tensor)
    if tensor.layout != torch.strided:
        raise ValueError(f"parameter {name} must be dense, got layout {tensor.layout}")
    if tensor.dtype not in DTYPES:
        raise ValueError(f"parameter {name} must be one of {', '.join(map(str, DTYPES))}, got {tensor.dtype}")
    if tensor.numel() >= MAX_ENTRIES:
        raise ValueError(f"parameter {name} must have fewer than 2^32 entries, got {tensor.numel()}")


def check_hyperparameters(group: dict[str, Any]) -> None:
    """Refuse a group whose numbers are out of range; raises ValueError."""
    for name in ("lr", "eps", "weight_decay"):
        if not float(group[name]) >= 0.0:
            raise ValueError(f"{name} must be >= 0, got {group[name]!r}")
    if len(group["betas"]) != 2 or not all(0.0 <= beta < 1.0 for beta in group["betas"]):
        raise ValueError(f"betas must be two numbers in [0, 1), got {group['betas']!r}")


def each(
    groups: Iterable[dict[str, Any]], names: Iterable[Sequence[str]]
) -> Iterator[tuple[str, Tensor, dict[str, Any]]]:
    """(name, parameter, its group) for an optimizer's groups and the canonical names of each."""
    for group, own in zip(groups, names, strict=True):
        for name, parameter in zip(own, group["params"], strict=True):
            yield name, parameter, group


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


def _pair(entry: object) -> tuple[str, Tensor]:
    if isinstance(entry, tuple) and len(entry) == 2 and isinstance(entry[0], str) and isinstance(entry[1], Tensor):
        return canonical_name(entry[0]), entry[1]
    raise ValueError(
        f"named_parameters must hold (name, tensor) pairs, such as model.named_parameters(), got {type(entry).__name__}"
    )
