"""Displacement matching: methods should differ in where they move, not in how far.

A sparsifier keeps a share of each update, so at the same learning rate it moves less. The applied rate is the
AdamW-equivalent one divided by the share of |update|_1 that is kept, rescaling included:

- keep-all methods (`adamw`, `linear`, `anchor`, `ema`), density 1, and rescaling that keeps the sum (`norm`): 1;
- random masks (`ondare`, `childtuning`): p, or 1 with `inverse`, in expectation;
- `della`: 1 with `inverse`, in expectation, else measured;
- `onties`: measured, the mean over the first ten steps of a plain AdamW run on the trial's own data.

The factor (1 - alpha) and updates that the sign election overrules are not counted.
"""

from collections.abc import Callable
from itertools import islice
from typing import Any

import torch
import torch.distributed
from torch import nn

from omsweep.align.known_share import known_share
from omsweep.optim.adamw import OnlineMergeAdamW
from omsweep.optim.retained import retained_share_of
from omsweep.optim.settings import OnlineMerge

PILOT_STEPS = 10


def matched_learning_rate(
    learning_rate: float, *, merge: OnlineMerge, measure: Callable[[], float]
) -> tuple[float, float]:
    """The learning rate to apply and the retained share it was divided by.

    Args:
        learning_rate: AdamW-equivalent.
        measure: runs the pilot; called only where the share has no closed form.
    """
    share = known_share(merge)
    if share is None:
        share = measure()
    return learning_rate / share, share


def measured_share(
    trainer: Any, *, merge: OnlineMerge, learning_rate: float, max_grad_norm: float, steps: int = PILOT_STEPS
) -> float:
    """Mean retained share of AdamW's updates over the first steps of the trainer's data; the weights are put back.

    Every worker takes its slice of each batch and gradients are averaged, so all find the same share. Updates are those
    without weight decay. The trainer must not have been trained yet.
    """
    model: nn.Module = trainer.model
    before = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
    named = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    parameters = [parameter for _, parameter in named]
    optimizer = OnlineMergeAdamW(named, OnlineMerge("adamw"), lr=learning_rate)
    shares = []
    for step, batch in enumerate(islice(trainer.get_train_dataloader(), steps), start=1):
        model.train()
        trainer.compute_loss(model, trainer._prepare_inputs(batch)).backward()
        _average_gradients(parameters)
        if max_grad_norm > 0:
            nn.utils.clip_grad_norm_(parameters, max_grad_norm)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        shares.append(retained_share_of(optimizer.updates(), merge=merge, step=step))
    model.load_state_dict(before)
    trainer._metrics["train"].clear()
    trainer._total_train_tokens = 0
    return sum(shares) / len(shares)


def _average_gradients(parameters: list[nn.Parameter]) -> None:
    if not torch.distributed.is_initialized() or torch.distributed.get_world_size() == 1:
        return
    for parameter in parameters:
        if parameter.grad is not None:
            torch.distributed.all_reduce(parameter.grad)
            parameter.grad /= torch.distributed.get_world_size()
