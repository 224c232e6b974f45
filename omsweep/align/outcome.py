"""What a training run hands back; plain data."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True, kw_only=True)
class TrainOutcome:
    """Result of one run; the trained weights are in the model that was passed in.

    Attributes:
        state: `completed`, `diverged` when a loss or a weight became infinite or NaN, or `stopped` at a rung.
        steps: optimizer steps done, those before a resume included.
        tokens: tokens fed to the model in training, both completions of a pair counted, all workers together.
        losses: loss of each step, mean over workers, those before a resume included; may end with a non-finite one.
        diagnostics: the optimizer's, see `omsweep.optim`.
        learning_rate_applied: peak learning rate; under `match: share` over the share of an update that is kept.
        seconds: `start` (checks, data, trainer), `pilot`, `train` (without what was spent at rungs).
        preflight: `truncated_share`, `examples`, and before the first step `loss`, `expected_loss`, `log_ratio_nats`.
    """

    state: Literal["completed", "diverged", "stopped"]
    steps: int
    tokens: int
    losses: list[float]
    diagnostics: dict[str, float]
    learning_rate_applied: float
    seconds: dict[str, float]
    preflight: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class OnTheWay:
    """Where a run is at a rung.

    Attributes:
        step: optimizer steps done.
        tokens, losses: as in `TrainOutcome`, so far.
        diagnostics: the optimizer's.
        seconds: of training so far, without those spent at rungs.
        copy_into: puts the policy as it is now into another model of its architecture; a meeting of all workers.
    """

    step: int
    tokens: int
    losses: list[float]
    diagnostics: dict[str, float]
    seconds: float
    copy_into: Callable[[Any], None]
