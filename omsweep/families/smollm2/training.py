"""Everyday conversations as batches of packed rows for the plain training loop of the embedded families."""

from collections.abc import Iterator
from itertools import islice

import torch
from transformers import PreTrainedTokenizerBase

from omsweep.families.family import Stage
from omsweep.families.tiny.training import IGNORED, Batch
from omsweep.worlds.everyday.instructions import Conversation, conversations

ROW_LENGTH = 160
"""Tokens of a row: at least two conversations."""

Piece = tuple[list[int], list[int]]
"""Inputs and labels of a conversation."""


def conversation_batches(
    tokenizer: PreTrainedTokenizerBase, stage: Stage, *, device: str, row_length: int = ROW_LENGTH
) -> Iterator[Batch]:
    """`stage.steps` batches of `stage.batch_size` rows; only the answer and its end token are labels.

    Args:
        tokenizer: with a chat template whose assistant turn ends with the end token.
        stage: its seed draws the conversations.
        device: where the batches are wanted.
        row_length: tokens of a row; a conversation that is longer is left out.
    """
    stream = (_piece(tokenizer, conversation) for conversation in conversations(stage.seed))
    rows = _rows((piece for piece in stream if len(piece[0]) <= row_length), row_length)
    for _ in range(stage.steps):
        yield _batch(list(islice(rows, stage.batch_size)), row_length, device)


def _piece(tokenizer: PreTrainedTokenizerBase, conversation: Conversation) -> Piece:
    prompt, answer = conversation
    asked = tokenizer.apply_chat_template(
        [{"role": "user", "content": prompt}], tokenize=False, add_generation_prompt=True
    )
    context = tokenizer(asked, add_special_tokens=False)["input_ids"]
    said = [*tokenizer(answer, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
    return [*context, *said[:-1]], [IGNORED] * (len(context) - 1) + said


def _rows(pieces: Iterator[Piece], row_length: int) -> Iterator[list[Piece]]:
    """Pieces in their order, as many in a row as fit."""
    row: list[Piece] = []
    for piece in pieces:
        if sum(len(inputs) for inputs, _ in row) + len(piece[0]) > row_length:
            yield row
            row = []
        row.append(piece)


def _batch(rows: list[list[Piece]], row_length: int, device: str) -> Batch:
    """Rows `[B, row_length]`; padding is a document of its own without labels."""
    shape = len(rows), row_length
    tokens, labels = torch.zeros(shape, dtype=torch.int64), torch.full(shape, IGNORED)
    positions, documents = torch.zeros(shape, dtype=torch.int64), torch.zeros(shape, dtype=torch.int64)
    for row, pieces in enumerate(rows):
        start = 0
        for number, (inputs, targets) in enumerate(pieces, start=1):
            place = slice(start, start + len(inputs))
            tokens[row, place], labels[row, place] = torch.tensor(inputs), torch.tensor(targets)
            positions[row, place], documents[row, place] = torch.arange(len(inputs)), number
            start = place.stop
    visible = (documents[:, None, :, None] == documents[:, None, None, :]).tril()
    tensors = {"inputs": tokens, "labels": labels, "positions": positions, "visible": visible}
    return Batch(**{name: tensor.to(device) for name, tensor in tensors.items()})
