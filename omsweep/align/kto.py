"""Kahneman-Tversky optimisation: 1 - sigmoid(+-beta (log-ratio - KL)), desirable and undesirable weights 1."""

from typing import Any

from trl import KTOConfig

from omsweep.align.trainer import PreparedKTOTrainer, PreparingKTOTrainer

TRAINER = PreparedKTOTrainer
PREPARER = PreparingKTOTrainer


def trainer_arguments(*, beta: float, nll_weight: float = 0.0, **shared: Any) -> KTOConfig:
    """TRL's arguments for this loss; `shared` as of `omsweep.align.arguments.shared_arguments`."""
    assert nll_weight == 0.0, "refused by TrainSettings"
    return KTOConfig(beta=beta, loss_type="kto", **shared)
