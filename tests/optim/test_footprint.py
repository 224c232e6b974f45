"""Bytes of state told from the settings are those of the state that is there."""

import pytest
import torch

from omsweep.merging.methods import METHODS
from omsweep.optim.adamw import OnlineMergeAdamW
from omsweep.optim.footprint import DTYPE_BYTES, state_bytes
from omsweep.optim.settings import OnlineMerge

ENTRIES = 4096
SETTINGS = {
    **{method: {} for method in METHODS},
    "ondare": {"semantics": "equations", "density": 0.5},
    "onties": {"semantics": "released", "density": 0.5},
    "childtuning": {"semantics": "equations", "density": 0.5},
}


@pytest.mark.parametrize("dtype", DTYPE_BYTES)
@pytest.mark.parametrize("gap_steps", [1, 3])
@pytest.mark.parametrize("method", METHODS)
def test_the_state_is_as_large_as_said(method: str, gap_steps: int, dtype: str) -> None:
    settings = dict(SETTINGS[method])
    if "gap_steps" in METHODS[method].knobs:
        settings["gap_steps"] = gap_steps
    if "alpha" in METHODS[method].knobs:
        settings["alpha"] = 1e-3
    merge = OnlineMerge(method, **settings)  # type: ignore[arg-type]
    weights = torch.nn.Parameter(torch.ones(ENTRIES, dtype=getattr(torch, dtype)))
    given = {"w": torch.full((ENTRIES,), 1e-3)}
    optimizer = OnlineMergeAdamW([("w", weights)], merge, task_vector=given, reference=given, lr=1e-3)
    weights.grad = torch.ones_like(weights)
    optimizer.step()
    whole = {
        key: value.numel() * value.element_size()
        for key, value in optimizer.state[weights].items()
        if isinstance(value, torch.Tensor) and value.numel() == ENTRIES
    }
    assert sum(whole.values()) == ENTRIES * sum(state_bytes(merge.resolved(), dtype).values()), whole
