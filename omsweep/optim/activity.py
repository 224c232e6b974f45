"""Whether anything may be credited to merging. Torch-free."""

import math
from collections.abc import Mapping

ACTIVE_SHARE = 0.01
"""Nothing may where what was merged in is less of the displacement, and what the election dropped of the update."""


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
