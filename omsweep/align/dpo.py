"""Direct preference optimisation: -log sigmoid(beta (log-ratio of chosen - log-ratio of rejected))."""

from typing import Any

from trl import DPOConfig

from omsweep.align.trainer import PreparedDPOTrainer, PreparingDPOTrainer

TRAINER = PreparedDPOTrainer
PREPARER = PreparingDPOTrainer


def trainer_arguments(*, beta: float, **shared: Any) -> DPOConfig:
    """TRL's arguments for this loss; `shared` as of `omsweep.align.arguments.shared_arguments`."""
    return DPOConfig(beta=beta, loss_type=["sigmoid"], **shared)
