"""A small reward model, trained by TRL's RewardTrainer on preference pairs."""

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from datasets import Dataset
from transformers import AutoModelForSequenceClassification, PreTrainedModel, PreTrainedTokenizerBase, TrainerCallback
from transformers.trainer_callback import PrinterCallback
from trl import RewardConfig, RewardTrainer

from omsweep.align.arguments import shared_arguments
from omsweep.align.isolation import isolated_training
from omsweep.align.order import example_order
from omsweep.align.trainer import Silent
from omsweep.foreign import calling
from omsweep.quiet import quiet_loggers

HELD_OUT = 5
"""One pair of so many is held out and judged at the end."""
MAX_LENGTH = 512

Pair = Mapping[str, Any]
"""`prompt`, `chosen` and `rejected` as chat messages."""


class SilentRewardTrainer(Silent, RewardTrainer):
    """`trl.RewardTrainer` that sends no telemetry."""


class _Steps(TrainerCallback):
    def __init__(self, on_step: Callable[[int], object]) -> None:
        self._on_step = on_step

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._on_step(1)


def reward_steps(pairs: int, *, epochs: int, batch_size: int) -> int:
    """Optimizer steps of `train_reward_model` on that many pairs."""
    return max(1, epochs * (pairs - pairs // HELD_OUT) // batch_size)


def train_reward_model(
    pairs: Sequence[Pair],
    *,
    start: str,
    layers: int,
    tokenizer: PreTrainedTokenizerBase,
    epochs: int,
    batch_size: int,
    learning_rate: float,
    seed: int,
    output: Path,
    on_step: Callable[[int], object],
) -> dict[str, float | int]:
    """Train the first `layers` layers of a causal model with a new head on pairs, and save them as a classifier.

    Args:
        pairs: chosen and rejected answers; every `HELD_OUT`-th is not trained on.
        start: folder of the causal model.
        layers: how many of its layers are kept.
        tokenizer: with a chat template; saved beside the model.
        epochs: passes over the pairs.
        batch_size: pairs of a step.
        learning_rate: peak, after a tenth of warm-up, then linear to zero.
        seed: of head and order.
        output: folder to write.
        on_step: called with 1 after each step.

    Returns:
        `pairs`, `held_out`, and `accuracy` on each: the share of pairs whose chosen answer gets more.

    Raises:
        ValueError: too few pairs to train on and to hold out.
    """
    if len(pairs) < 2 * HELD_OUT:
        raise ValueError(f"a reward model needs at least {2 * HELD_OUT} pairs, got {len(pairs)}")
    held_out = [pair for place, pair in enumerate(pairs) if place % HELD_OUT == 0]
    trained = [pair for place, pair in enumerate(pairs) if place % HELD_OUT]
    steps = reward_steps(len(pairs), epochs=epochs, batch_size=batch_size)
    model = first_layers(start, layers=layers, seed=seed)
    rows = Dataset.from_list([{key: pair[key] for key in ("prompt", "chosen", "rejected")} for pair in trained])
    with isolated_training(model), TemporaryDirectory() as scratch:
        arguments = shared_arguments(
            output_dir=Path(scratch),
            per_device_batch_size=batch_size,
            max_length=MAX_LENGTH,
            steps=steps,
            learning_rate=learning_rate,
            lr_scheduler="linear",
            warmup_steps=steps // 10,
            seed=seed,
        )
        del arguments["precompute_ref_log_probs"]
        trainer = SilentRewardTrainer(
            model=model,
            args=RewardConfig(**arguments, center_rewards_coefficient=0.01),
            train_dataset=rows.select(example_order(len(rows), wanted=len(rows), seed=seed)),
            processing_class=tokenizer,
            callbacks=[_Steps(on_step)],
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    model.save_pretrained(output)
    tokenizer.save_pretrained(output)
    return {
        "pairs": len(trained),
        "held_out": len(held_out),
        "accuracy": agreement(model, tokenizer, trained),
        "accuracy_held_out": agreement(model, tokenizer, held_out),
    }


def first_layers(start: str, *, layers: int, seed: int) -> PreTrainedModel:
    """A classifier with one output: the first `layers` layers of a causal model, float32, and a head from `seed`."""
    # it would list the layers that are left out, and the head, which is new
    with quiet_loggers("transformers.modeling_utils", level=logging.ERROR), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        with calling(f"load the model of {start}"):
            model: PreTrainedModel = AutoModelForSequenceClassification.from_pretrained(
                start, num_labels=1, num_hidden_layers=layers, dtype=torch.float32, local_files_only=True
            )
    return model


def agreement(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, pairs: Sequence[Pair]) -> float:
    """Share of pairs whose chosen answer gets a higher logit than the rejected one."""
    model.eval()
    right = 0
    with torch.no_grad():
        for pair in pairs:
            texts = [
                tokenizer.apply_chat_template([*pair["prompt"], *pair[which]], tokenize=False)
                for which in ("chosen", "rejected")
            ]
            inputs = tokenizer(
                texts, add_special_tokens=False, padding=True, padding_side="right", return_tensors="pt"
            ).to(model.device)
            chosen, rejected = model(**inputs).logits.float()[:, 0].tolist()
            right += chosen > rejected
    return right / len(pairs)
