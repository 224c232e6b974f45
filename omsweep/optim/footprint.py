"""What OnlineMergeAdamW holds of each parameter, in bytes, told from the settings alone. Torch-free."""

from omsweep.merging.methods import METHODS
from omsweep.optim.settings import ResolvedMerge

FLOAT32_BYTES = 4
DTYPE_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
MASTER_BYTES = {"float32": 0, "bfloat16": 2, "float16": 4}
"""Besides the parameter itself, with precision `auto`; see `omsweep.optim.precision`."""


def state_bytes(merge: ResolvedMerge, dtype: str) -> dict[str, int]:
    """Bytes of optimizer state per parameter by what they hold, with precision `auto`; nothing that is not held.

    Diagnostics watch a bounded number of entries and are not counted, nor are the task vector and the reference, which
    are given to the optimizer and not its state.

    Args:
        merge: resolved settings.
        dtype: of the parameters: `float32`, `bfloat16` or `float16`.
    """
    held = {
        "moments": 2 * FLOAT32_BYTES,
        "master bits": MASTER_BYTES[dtype],
        "gap sum": FLOAT32_BYTES if merge.gap_steps > 1 else 0,
        "moving average": FLOAT32_BYTES if METHODS[merge.method].pull == "average" else 0,
    }
    return {name: count for name, count in held.items() if count}
