"""How much of an update a sparsifier keeps; learning rates are matched for it."""

from collections.abc import Mapping

from torch import Tensor

from omsweep.merging.merged import sparse_update
from omsweep.merging.methods import METHODS
from omsweep.merging.randomness import mask_key
from omsweep.optim.merger import axes_of
from omsweep.optim.settings import OnlineMerge
from omsweep.optim.sharding import full


def retained_share_of(updates: Mapping[str, Tensor], *, merge: OnlineMerge, step: int = 1) -> float:
    """sum |S(delta)| / sum |delta| over all tensors, S as `merge` has it, rescaling included; (1 - alpha) is not.

    Args:
        updates: displacement by canonical name, such as `OnlineMergeAdamW.updates()` of a plain AdamW run; sharded
            ones are gathered one after another, by all ranks together.
        merge: method, density, rescale, min_kept and seed count; alpha does not.
        step: keys masks and ties.

    Raises:
        ValueError: no tensors, or nothing moved.
    """
    settings = merge.resolved()
    method, axes = METHODS[settings.method], axes_of(settings)
    before = after = 0.0
    for name, given in updates.items():
        key, update = mask_key(settings.seed, step, "update", name), full(given)
        after += float(sparse_update(method, update.float(), axes=axes, key=key, shard=None).abs().double().sum())
        before += float(update.abs().double().sum())
    if before == 0.0:
        raise ValueError(f"updates must hold a movement, got {len(updates)} tensors that sum to 0")
    return after / before
