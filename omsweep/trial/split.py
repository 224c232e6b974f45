"""How far a trial's policy went from its SFT model, along the task vector and beside it; exact, from all weights."""

import math
from typing import Any

from omsweep.store.records import Prepared


def split_of(policy: Any, sft: Any, prepared: Prepared) -> dict[str, float]:
    """`travel`, `residual` and `displacement` of a policy, for its record's diagnostics.

    The task vector is the family's real one, whatever a trial merged. `travel` and `residual` are left out where the
    sweep has none because no branch merges one.

    Args:
        policy: a whole model, in memory.
        sft: the SFT model, in the same dtype.
        prepared: of the SFT model.
    """
    from omsweep.merging.names import canonical_name
    from omsweep.merging.split import split
    from omsweep.optim.task_vector_file import open_task_vector

    end, start = (
        {canonical_name(name): weights.detach() for name, weights in model.named_parameters()}
        for model in (policy, sft)
    )
    real = prepared.task_vectors.get("real")
    found = split(end, start, open_task_vector(real) if real else None)._asdict()
    return {name: value for name, value in found.items() if math.isfinite(value)}
