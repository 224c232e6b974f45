"""Arguments of TRL's trainers: what all algorithms share, and each one's loss."""

from pathlib import Path
from typing import Any

import torch
from trl import DPOConfig, KTOConfig

from omsweep.align.algorithms import Algorithm


def shared_arguments(
    *,
    output_dir: Path,
    per_device_batch_size: int,
    max_length: int,
    steps: int = 1,
    learning_rate: float = 1e-6,
    lr_scheduler: str = "constant",
    warmup_steps: int = 0,
    max_grad_norm: float = 1.0,
    weight_decay: float = 0.0,
    checkpoint_every: int = 0,
    gradient_accumulation_steps: int = 1,
    gradient_checkpointing: bool = False,
    seed: int = 0,
) -> dict[str, Any]:
    """Keyword arguments of a TRL config: one epoch in the data's own order, silent, logged at each step.

    Weights keep the dtype they were loaded in (no autocast). The data set is expected to be in training order already,
    so that workers, and the passes of a step, share each global batch as consecutive slices whatever their number.
    """
    return {
        "output_dir": str(output_dir),
        "per_device_train_batch_size": per_device_batch_size,
        "gradient_accumulation_steps": gradient_accumulation_steps,
        "max_length": max_length,
        "max_steps": steps,
        "learning_rate": learning_rate,
        "lr_scheduler_type": lr_scheduler,
        "warmup_steps": warmup_steps,
        "max_grad_norm": max_grad_norm,
        "weight_decay": weight_decay,
        "seed": seed,
        "train_sampling_strategy": "sequential",
        "precompute_ref_log_probs": True,
        "use_cpu": not torch.cuda.is_available(),
        "bf16": False,
        "fp16": False,
        "gradient_checkpointing": gradient_checkpointing,
        "activation_checkpointing": gradient_checkpointing,  # the same under its new name; without it the old one warns
        "ddp_find_unused_parameters": False,
        "logging_strategy": "steps",
        "logging_steps": 1,
        "logging_nan_inf_filter": False,
        "disable_tqdm": True,
        "report_to": "none",
        "save_strategy": "steps" if checkpoint_every else "no",
        "save_steps": checkpoint_every or 1,
        "save_total_limit": 2,
        "dataloader_pin_memory": torch.cuda.is_available(),
    }


def trainer_arguments(
    algorithm: Algorithm,
    *,
    beta: float,
    nll_weight: float = 0.0,
    kto_weights: tuple[float, float] = (1.0, 1.0),
    **shared: Any,
) -> DPOConfig | KTOConfig:
    """TRL's arguments for an algorithm's loss.

    `kto_weights` are those of desirable and undesirable answers; `shared` is as of `shared_arguments`.
    """
    if algorithm.data_kind == "paired":
        losses: dict[str, Any] = {"loss_type": [algorithm.trl_loss]}
        if nll_weight:  # `sft` is the chosen answers' mean negative log-likelihood per token
            losses = {"loss_type": [algorithm.trl_loss, "sft"], "loss_weights": [1.0, nll_weight]}
        return DPOConfig(beta=beta, **losses, **shared)
    assert nll_weight == 0.0, "refused by TrainSettings"
    desirable, undesirable = kto_weights
    shared |= {"desirable_weight": desirable, "undesirable_weight": undesirable}
    return KTOConfig(beta=beta, loss_type=algorithm.trl_loss, **shared)
