"""Parameters that are spread over ranks: which piece lies here, and the only collectives of the optimizers.

Masks and thresholds belong to full tensors. A random mask needs nothing from other ranks, because the bits of an entry
are a function of its index; a threshold needs counts, exchanged for all tensors at once. Ranks that replicate a tensor
(DDP, the replicate dimension of HSDP) exchange nothing, because they see the same gradients.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor

from omsweep.merging.block import Block, cut_block, whole
from omsweep.merging.sparsify import magnitude_counts
from omsweep.merging.threshold import Ranked, top_thresholds

Groups: TypeAlias = tuple[Any, ...]
"""Process groups over which a tensor's pieces are spread, one per sharding dimension of its mesh; () for none."""

FLATTENING = "FSDP1 and DeepSpeed ZeRO flatten parameters, which loses their names and shapes"
ADVICE = "use FSDP2 (torch.distributed.fsdp.fully_shard; in accelerate fsdp_version 2) or DDP"


class Piece(NamedTuple):
    """The piece of a parameter that lies on this rank.

    Attributes:
        block: where its entries lie in the full tensor.
        shape: of the piece.
        offset: of its first entry, per dimension.
        groups: see `Groups`.
    """

    block: Block
    shape: tuple[int, ...]
    offset: tuple[int, ...]
    groups: Groups


def is_sharded(tensor: Tensor) -> bool:
    """Whether a tensor is a DTensor; False where torch was built without distributed."""
    if not torch.distributed.is_available():
        return False
    from torch.distributed.tensor import DTensor

    return isinstance(tensor, DTensor)


def local(tensor: Tensor) -> Tensor:
    """The part of a tensor that lies on this rank, sharing memory; the tensor itself unless it is a DTensor."""
    if not is_sharded(tensor):
        return tensor
    part: Tensor = tensor.to_local()
    return part


def full(tensor: Tensor) -> Tensor:
    """The whole of a tensor: gathered from all ranks, which must all ask, where it is a DTensor."""
    if not is_sharded(tensor):
        return tensor
    gathered: Tensor = tensor.full_tensor()
    return gathered


def piece_of(name: str, parameter: Tensor) -> Piece:
    """The piece of a parameter that lies here.

    Raises:
        ValueError: a DTensor placed otherwise than by `Replicate` and `Shard`, or sharded along two dimensions.
    """
    if not is_sharded(parameter):
        shape = tuple(parameter.shape)
        return Piece(whole(parameter.numel()), shape, (0,) * len(shape), ())
    from torch.distributed.tensor import Replicate, Shard
    from torch.distributed.tensor._utils import compute_local_shape_and_global_offset

    mesh, placements = parameter.device_mesh, parameter.placements
    if not all(type(placement) in (Replicate, Shard) for placement in placements):
        raise ValueError(f"parameter {name} must be placed by Shard and Replicate only, got {tuple(placements)}")
    shape, offset = compute_local_shape_and_global_offset(parameter.shape, mesh, placements)
    try:
        block = cut_block(parameter.shape, shape, offset)
    except ValueError as error:
        raise ValueError(f"parameter {name}: {error}") from None
    groups = tuple(
        mesh.get_group(dim) for dim, placed in enumerate(placements) if placed.is_shard() and mesh.size(dim) > 1
    )
    return Piece(block, tuple(shape), tuple(offset), groups)


def cut(full: Tensor, piece: Piece) -> Tensor:
    """A piece of a full tensor, sharing its memory; of a DTensor, which must be placed like the parameter, its own."""
    if is_sharded(full):
        return local(full)
    for dim, (start, length) in enumerate(zip(piece.offset, piece.shape, strict=True)):
        if length != full.shape[dim]:
            full = full.narrow(dim, start if length else 0, length)
    return full


def summed(groups: Groups) -> Callable[[Tensor], Tensor]:
    """A function that sums a tensor over the ranks of `groups`, in place, and returns it."""

    def total(tensor: Tensor) -> Tensor:
        for group in groups:
            torch.distributed.all_reduce(tensor, group=group)
        return tensor

    return total


def thresholds(asked: Sequence[tuple[Groups, Ranked]]) -> list[Any]:
    """Top-p thresholds of sharded tensors, in order: three collectives per set of groups, three more for ties."""
    return _by_groups(asked, lambda group, ranked: top_thresholds(ranked, summed(group)))


def counts(asked: Sequence[tuple[Groups, Callable[[], Tensor]]]) -> list[Any]:
    """Magnitude counts of sharded tensors, in order: one collective per set of groups."""

    def together(group: Groups, tensors: list[Callable[[], Tensor]]) -> list[Tensor]:
        return list(summed(group)(torch.stack([magnitude_counts(tensor()) for tensor in tensors])))

    return _by_groups(asked, together)


def check_not_flattened(name: str, parameter: Tensor) -> None:
    """Refuse parameters of wrappers that flatten them.

    Raises:
        ValueError: FSDP1 or DeepSpeed ZeRO-3 holds the parameter.
    """
    owners = {"_fsdp_flattened", "ds_id"} & vars(parameter).keys()
    if owners or "_fsdp_wrapped_module" in name.split(".") or "_flat_param" in name.split("."):
        raise ValueError(f"parameter {name} belongs to a model that is wrapped already: {FLATTENING}; {ADVICE}")


def check_same_shape(name: str, parameter: Tensor, built: Sequence[int]) -> None:
    """Refuse a parameter that something replaced by one of another full shape after the optimizer was built.

    Raises:
        ValueError: the shapes differ.
    """
    if tuple(parameter.shape) != tuple(built):
        raise ValueError(
            f"parameter {name} had shape {tuple(built)} when the optimizer was built and has {tuple(parameter.shape)} "
            f"now: {FLATTENING}; {ADVICE}"
        )


def _by_groups(asked: Sequence[tuple[Groups, Any]], answer: Callable[[Groups, list[Any]], list[Any]]) -> list[Any]:
    found: list[Any] = [None] * len(asked)
    for group in dict.fromkeys(groups for groups, _ in asked):
        at = [i for i, (groups, _) in enumerate(asked) if groups == group]
        for i, value in zip(at, answer(group, [asked[i][1] for i in at]), strict=True):
            found[i] = value
    return found
