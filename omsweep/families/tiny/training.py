"""Plain torch loops that train the embedded families: raw text, then conversations, both packed into rows."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random
from typing import Protocol

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from omsweep.families.family import Stage
from omsweep.families.tiny.tokenizer import ASSISTANT, BOS, EOS, PAD, USER
from omsweep.worlds.tiny.training_text import draw_conversation, draw_document

ROW_LENGTH = 64
WARMUP_SHARE = 0.05
WEIGHT_DECAY = 0.01
IGNORED = -100


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Rows of several documents each, which do not see one another.

    Attributes:
        inputs: token ids, int64 [B, T].
        labels: the token that follows each position, or IGNORED, int64 [B, T].
        positions: place within the document, int64 [B, T].
        visible: whether the query (third axis) may attend to the key (fourth axis), bool [B, 1, T, T].
    """

    inputs: Tensor
    labels: Tensor
    positions: Tensor
    visible: Tensor


class ProgressBar(Protocol):
    """What a training loop needs of a progress bar; tqdm has it."""

    def update(self, n: int) -> object:
        """`n` more steps are done."""

    def close(self) -> None:
        """Nothing more will come."""


def raw_batches(tokenizer: PreTrainedTokenizerFast, stage: Stage) -> Iterator[Batch]:
    """Raw documents between BOS and EOS; every token but the first is a label."""
    ids = tokenizer.get_vocab()
    rng = Random(f"pretraining {stage.seed}")

    def draw() -> tuple[list[int], int]:
        return [ids[word] for word in (BOS, *draw_document(rng).split(), EOS)], 1

    return (_pack(draw, stage.batch_size, ids[PAD]) for _ in range(stage.steps))


def conversation_batches(tokenizer: PreTrainedTokenizerFast, stage: Stage) -> Iterator[Batch]:
    """Conversations as the chat template writes them; only the answer and its EOS are labels."""
    ids = tokenizer.get_vocab()
    rng = Random(f"sft {stage.seed}")

    def draw() -> tuple[list[int], int]:
        prompt, answer = draw_conversation(rng)
        asked = [ids[word] for word in (BOS, USER, *prompt.split(), ASSISTANT)]
        return asked + [ids[word] for word in (*answer.split(), EOS)], len(asked)

    return (_pack(draw, stage.batch_size, ids[PAD]) for _ in range(stage.steps))


def _pack(draw: Callable[[], tuple[list[int], int]], rows: int, pad: int) -> Batch:
    """Fill rows with drawn documents (ids, index of the first label), each whole; what is left of a row is padding."""
    padding = (pad, IGNORED, 0, 0)
    tokens: list[tuple[int, int, int, int]] = []
    count = 0
    while True:
        ids, first_label = draw()
        assert len(ids) - 1 <= ROW_LENGTH, f"a document must fit into a row, got {len(ids)} tokens"
        room = -len(tokens) % ROW_LENGTH
        if len(ids) - 1 > room:
            tokens += [padding] * room
        if len(tokens) == rows * ROW_LENGTH:
            break
        count += 1
        labels = [IGNORED] * (first_label - 1) + ids[first_label:]
        tokens += zip(ids, labels, range(len(labels)), [count] * len(labels), strict=False)
    inputs, targets, positions, documents = torch.tensor(tokens).view(rows, ROW_LENGTH, 4).unbind(-1)
    same_document = documents[:, None, :, None] == documents[:, None, None, :]
    return Batch(inputs=inputs, labels=targets, positions=positions, visible=same_document.tril())


def train_stage(
    model: PreTrainedModel, batches: Iterator[Batch], stage: Stage, *, on_step: Callable[[float], object]
) -> None:
    """Train `model` in place on `stage.steps` batches: AdamW, 5 % warm-up, cosine to zero, clipped at norm 1."""
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=stage.learning_rate, betas=(0.9, 0.98), weight_decay=WEIGHT_DECAY, fused=True
    )
    warmup = max(1, round(WARMUP_SHARE * stage.steps))
    model.train()
    for step, batch in enumerate(batches):
        decay = 0.5 * (1 + math.cos(math.pi * max(0, step - warmup) / max(1, stage.steps - warmup)))
        for group in optimizer.param_groups:
            group["lr"] = stage.learning_rate * min(1.0, (step + 1) / warmup) * decay
        loss = next_token_loss(model, batch)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        on_step(loss.item())
    model.eval()


def next_token_loss(model: PreTrainedModel, batch: Batch) -> Tensor:
    """Mean cross-entropy in nats over the labelled positions; vocabulary logits are formed for those only."""
    hidden = model.base_model(
        input_ids=batch.inputs, attention_mask=batch.visible, position_ids=batch.positions, use_cache=False
    ).last_hidden_state
    labelled = batch.labels != IGNORED
    return cross_entropy(model.lm_head(hidden[labelled]), batch.labels[labelled])
