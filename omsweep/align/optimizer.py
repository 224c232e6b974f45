"""How the transformers Trainer gets an online merging optimizer."""

from collections.abc import Callable, Mapping
from typing import Any

import torch

from omsweep.optim.adamw import OnlineMergeAdamW
from omsweep.optim.settings import OnlineMerge


class OnlineMergeFactory:
    """For `trainer.optimizer_cls_and_kwargs`: the Trainer calls classes that are not Optimizers with the model."""

    def __call__(
        self,
        model: torch.nn.Module,
        *,
        merge: OnlineMerge,
        task_vector: Mapping[str, torch.Tensor] | None,
        reference: Mapping[str, torch.Tensor] | None,
        decays: Callable[[torch.nn.Module], list[str]],
        lr: float,
        weight_decay: float,
    ) -> torch.optim.Optimizer:
        """`OnlineMergeAdamW` over two named groups, with and without weight decay.

        Args:
            model: unwrapped; parameters that do not require gradients are left out.
            decays: the Trainer's rule, model -> names of parameters that decay.
        """
        groups = decay_groups(model, decaying=decays(model), weight_decay=weight_decay)
        return OnlineMergeAdamW(groups, merge, task_vector=task_vector, reference=reference, lr=lr)


def decay_groups(model: torch.nn.Module, *, decaying: list[str], weight_decay: float) -> list[dict[str, Any]]:
    """Groups of (name, parameter): those named in `decaying` with the weight decay, the rest with none."""
    trainable = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    names = set(decaying)
    groups = [
        {"params": [pair for pair in trainable if pair[0] in names], "weight_decay": weight_decay},
        {"params": [pair for pair in trainable if pair[0] not in names], "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]
