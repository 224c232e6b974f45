"""How far a trial's policy went from its SFT model, exact, from all weights, and whether merging counts in it."""

import math
from collections.abc import Mapping
from typing import Any

from omsweep.store.records import Prepared

ACTIVE_SHARE = 0.01
"""Nothing may be credited to merging where what was merged in is a smaller share of the displacement, and what the
election dropped of the update."""


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


def merge_active(diagnostics: Mapping[str, float | None]) -> bool | None:
    """Whether a run's merges did anything, see `ACTIVE_SHARE`; None where that is not known.

    Args:
        diagnostics: with `merged_share` and `election_dropped_share`.
    """
    shares = [diagnostics.get(name) for name in ("merged_share", "election_dropped_share")]
    known = [share for share in shares if share is not None and math.isfinite(share)]
    if any(share >= ACTIVE_SHARE for share in known):
        return True
    return False if len(known) == len(shares) else None


def with_displacement(diagnostics: Mapping[str, float | None], displacement: float) -> dict[str, float | None]:
    """Diagnostics with the displacement measured over all weights in place of the sampled one."""
    found = {name: value for name, value in diagnostics.items() if name != "displacement_se"}
    merged = found.get("merged_norm")
    share = merged / displacement if merged is not None and displacement > 0.0 else found.get("merged_share")
    return found | {"displacement": displacement, "merged_share": share}
