"""Learning rates matched for the share of an update that a method keeps (`match: share`).

A sparsifier keeps a share of each update, so at the same learning rate a step is smaller. The applied rate is the
AdamW-equivalent one divided by the share of |update|_1 that is kept, rescaling included:

- keep-all methods (`adamw`, `linear`, `anchor`, `ema`), density 1, and rescaling that keeps the sum (`norm`): 1;
- random masks (`ondare`, `childtuning`): p, or 1 with `inverse`, in expectation;
- `della`: 1 with `inverse`, in expectation, else measured;
- `onties`: measured, the mean over the first ten steps of a plain AdamW run on the trial's own data.

The factor (1 - alpha) and updates that the sign election overrules are not counted. Matched runs do not end equally far
from the SFT model: one that keeps the largest entries, or walks along tau, ends further away.
"""

from collections.abc import Callable
from itertools import islice
from typing import Any

from omsweep.align.settings import known_share
from omsweep.optim.adamw import OnlineMergeAdamW
from omsweep.optim.merger import retained_share_of
from omsweep.optim.settings import OnlineMerge

PILOT_STEPS = 10


def matched_learning_rate(learning_rate: float, *, merge: OnlineMerge, measure: Callable[[], float]) -> float:
    """The learning rate to apply: the given one over the retained share.

    Args:
        learning_rate: AdamW-equivalent.
        measure: runs the pilot; called only where the share has no closed form.
    """
    share = known_share(merge)
    return learning_rate / (measure() if share is None else share)


def measured_share(
    trainer: Any, *, merge: OnlineMerge, learning_rate: float, max_grad_norm: float, steps: int = PILOT_STEPS
) -> float:
    """Mean retained share of AdamW's updates over the first steps of the trainer's data.

    Every worker takes its slice of each batch and gradients are averaged, so all find the same share. Updates are those
    without weight decay. The trainer and its model are used up: give them a copy of the model.
    """
    named = [(name, parameter) for name, parameter in trainer.model.named_parameters() if parameter.requires_grad]
    optimizer = OnlineMergeAdamW(named, OnlineMerge("adamw"), lr=learning_rate)
    passes = trainer.args.gradient_accumulation_steps
    if trainer.args.activation_checkpointing:
        trainer.model.activation_checkpointing_enable()
    model, _ = trainer.accelerator.prepare(trainer.model, optimizer)
    model.train()
    batches = iter(trainer.get_train_dataloader())
    shares = []
    for step in range(1, steps + 1):
        taken = list(islice(batches, passes))
        if not taken:
            break
        for batch in taken:
            (trainer.compute_loss(model, trainer._prepare_inputs(batch)) / passes).backward()
        if max_grad_norm > 0:
            trainer.accelerator.clip_grad_norm_(model.parameters(), max_grad_norm)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        shares.append(retained_share_of(optimizer.updates(), merge=merge, step=step))
    return sum(shares) / len(shares)
