"""Plain torch loops that train the embedded families: packed raw text, then conversations batched by length."""

import math
from collections.abc import Callable, Iterator
from random import Random
from typing import Protocol

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from omsweep.families.family import Stage
from omsweep.families.tiny.tokenizer import ASSISTANT, BOS, EOS, PAD, USER
from omsweep.tinyworld.training_text import draw_conversation, draw_document

ROW_LENGTH = 64
BUCKET_BATCHES = 16
WARMUP_SHARE = 0.05
WEIGHT_DECAY = 0.01
IGNORED = -100

Batch = tuple[Tensor, Tensor]
"""Token ids [B, T] and labels [B, T] (int64; the label of a position is the token that follows it, or IGNORED)."""


class ProgressBar(Protocol):
    """What a training loop needs of a progress bar; tqdm has it."""

    def update(self, n: int) -> object:
        """`n` more steps are done."""

    def close(self) -> None:
        """Nothing more will come."""


def packed_batches(tokenizer: PreTrainedTokenizerFast, stage: Stage) -> Iterator[Batch]:
    """Raw documents between BOS and EOS, packed into rows of 64 tokens; every next token is a label."""
    ids = tokenizer.get_vocab()
    rng = Random(f"pretraining {stage.seed}")
    buffer: list[int] = []
    wanted = stage.batch_size * (ROW_LENGTH + 1)
    for _ in range(stage.steps):
        while len(buffer) < wanted:
            buffer += [ids[BOS], *(ids[word] for word in draw_document(rng).split()), ids[EOS]]
        rows = torch.tensor(buffer[:wanted]).view(stage.batch_size, ROW_LENGTH + 1)
        buffer = buffer[wanted:]
        yield rows[:, :-1], rows[:, 1:]


def conversation_batches(tokenizer: PreTrainedTokenizerFast, stage: Stage) -> Iterator[Batch]:
    """Conversations in chat form, padded on the right to the batch's longest; only answer and EOS are labels.

    Batches of similar length are cut from groups of 16 batches, so that little is padding.
    """
    ids = tokenizer.get_vocab()
    rng = Random(f"sft {stage.seed}")
    remaining = stage.steps
    while remaining:
        batches = min(BUCKET_BATCHES, remaining)
        remaining -= batches
        turns = [draw_conversation(rng) for _ in range(batches * stage.batch_size)]
        turns.sort(key=lambda turn: len(turn[0].split()) + len(turn[1].split()))
        starts = list(range(0, len(turns), stage.batch_size))
        rng.shuffle(starts)
        for start in starts:
            yield _chat_batch(turns[start : start + stage.batch_size], ids)


def _chat_batch(turns: list[tuple[str, str]], ids: dict[str, int]) -> Batch:
    prompts = [[ids[word] for word in (BOS, USER, *prompt.split(), ASSISTANT)] for prompt, _ in turns]
    answers = [[ids[word] for word in (*answer.split(), EOS)] for _, answer in turns]
    width = max(len(prompt) + len(answer) for prompt, answer in zip(prompts, answers, strict=True))
    inputs = torch.full((len(turns), width - 1), ids[PAD])
    labels = torch.full((len(turns), width - 1), IGNORED)
    for row, (prompt, answer) in enumerate(zip(prompts, answers, strict=True)):
        length = len(prompt) + len(answer)
        inputs[row, : length - 1] = torch.tensor((prompt + answer)[:-1])
        labels[row, len(prompt) - 1 : length - 1] = torch.tensor(answer)
    return inputs, labels


def train_stage(
    model: PreTrainedModel, batches: Iterator[Batch], stage: Stage, *, on_step: Callable[[float], object]
) -> None:
    """Train `model` in place on `stage.steps` batches: AdamW, 5 % warm-up, cosine to zero, clipped at norm 1.

    Right padding needs no attention mask: causal attention never lets a labelled token see what follows it.
    """
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=stage.learning_rate, betas=(0.9, 0.98), weight_decay=WEIGHT_DECAY, fused=True
    )
    warmup = max(1, round(WARMUP_SHARE * stage.steps))
    model.train()
    for step, (inputs, labels) in enumerate(batches):
        decay = 0.5 * (1 + math.cos(math.pi * max(0, step - warmup) / max(1, stage.steps - warmup)))
        for group in optimizer.param_groups:
            group["lr"] = stage.learning_rate * min(1.0, (step + 1) / warmup) * decay
        loss = next_token_loss(model, inputs, labels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        on_step(loss.item())
    model.eval()


def next_token_loss(model: PreTrainedModel, inputs: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy in nats over the labelled positions; vocabulary logits are formed for those only."""
    hidden = model.base_model(input_ids=inputs, use_cache=False).last_hidden_state
    labelled = labels != IGNORED
    return cross_entropy(model.lm_head(hidden[labelled]), labels[labelled])
