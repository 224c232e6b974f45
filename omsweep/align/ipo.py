"""Identity preference optimisation: (difference of per-token mean log-ratios - 1 / (2 beta))^2."""

from typing import Any

from trl import DPOConfig

from omsweep.align.arguments import weighted_losses
from omsweep.align.trainer import PreparedDPOTrainer, PreparingDPOTrainer

TRAINER = PreparedDPOTrainer
PREPARER = PreparingDPOTrainer


def trainer_arguments(*, beta: float, nll_weight: float = 0.0, **shared: Any) -> DPOConfig:
    """TRL's arguments for this loss; `shared` as of `omsweep.align.arguments.shared_arguments`."""
    return DPOConfig(beta=beta, **weighted_losses("ipo", nll_weight=nll_weight), **shared)
