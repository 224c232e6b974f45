"""LoRA adapters through peft: trained in place of the weights, then merged into them; a policy is weights alone.

Every linear layer but the output head gets one: W + (lora_alpha / lora_rank) B A, with A random and B zero at the start
(arXiv:2106.09685), no dropout. Adapters are float32 whatever the weights are.
"""

import math

import torch
from peft import LoraConfig, PeftModel
from peft.tuners.lora import LoraLayer

ADAPTER = "default"


def adapter_config(*, rank: int, alpha: float) -> LoraConfig:
    """What peft adds to a model. Its random values come from torch's generator: seed it before."""
    # peft wants a whole number and takes any; only the quotient with the rank is used
    return LoraConfig(r=rank, lora_alpha=alpha, target_modules="all-linear", lora_dropout=0.0, task_type="CAUSAL_LM")


@torch.no_grad()
def merge_adapters(adapted: PeftModel) -> float:
    """Add every adapter to its weights, in the weights' dtype; returns how far that moves them.

    Returns:
        The Euclidean norm of all (alpha / rank) B A together, before rounding.
    """
    layers = [module for module in adapted.modules() if isinstance(module, LoraLayer)]
    squares = [layer.get_delta_weight(ADAPTER).double().square().sum().item() for layer in layers]
    adapted.merge_adapter()
    return math.sqrt(sum(squares))
