"""Opening `named_parameters`: one flat iterable of (name, tensor), or groups of them, checked at once."""

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

import torch
from torch import Tensor

from omsweep.merging.randomness import MAX_ENTRIES
from omsweep.optim.names import canonical_name
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


def _pair(entry: object) -> tuple[str, Tensor]:
    if isinstance(entry, tuple) and len(entry) == 2 and isinstance(entry[0], str) and isinstance(entry[1], Tensor):
        return canonical_name(entry[0]), entry[1]
    raise ValueError(
        f"named_parameters must hold (name, tensor) pairs, such as model.named_parameters(), got {type(entry).__name__}"
    )


def check_hyperparameters(group: dict[str, Any]) -> None:
    """Refuse a group whose numbers are out of range; raises ValueError."""
    for name in ("lr", "eps", "weight_decay"):
        if not float(group[name]) >= 0.0:
            raise ValueError(f"{name} must be >= 0, got {group[name]!r}")
    if len(group["betas"]) != 2 or not all(0.0 <= beta < 1.0 for beta in group["betas"]):
        raise ValueError(f"betas must be two numbers in [0, 1), got {group['betas']!r}")
