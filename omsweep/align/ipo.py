"""Identity preference optimisation: (difference of per-token mean log-ratios - 1 / (2 beta))^2."""

from typing import Any

from trl import DPOConfig

from omsweep.align.trainer import PreparedDPOTrainer, PreparingDPOTrainer

TRAINER = PreparedDPOTrainer
PREPARER = PreparingDPOTrainer


def trainer_arguments(*, beta: float, **shared: Any) -> DPOConfig:
    """TRL's arguments for this loss; `shared` as of `omsweep.align.arguments.shared_arguments`."""
    return DPOConfig(beta=beta, loss_type=["ipo"], **shared)
