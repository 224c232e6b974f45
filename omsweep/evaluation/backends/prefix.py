"""What the prompts of a batch begin with alike - a system turn, the examples shown - is read once for all of them."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import DynamicLayer

WORTH_TOKENS = 256
"""Fewest tokens that are saved for a pass of its own."""


def read_prompts(
    model: Any, rows: Sequence[tuple[int, ...]], *, pad: int, share: bool = True
) -> tuple[Tensor, Tensor, Any]:
    """Token ids and attention mask `[rows, longest]` of prompts, on the model's device, and a cache of what is read.

    Without a cache (None) rows are filled with `pad` on the left. With one, each row begins with what all begin with,
    which the cache holds, and is filled behind that: the mask tells, and positions follow from the mask. That is done
    for models whose layers all attend to every token, so that a gap between two tokens does not count.

    Args:
        model: a causal model of transformers in evaluation mode.
        rows: token ids of each prompt, at least one.
        pad: any token.
        share: whether prompts may begin alike in the cache.
    """
    first, last = min(rows), max(rows)  # in order: what these two begin with, all do
    alike = next((place for place, pair in enumerate(zip(first, last, strict=False)) if len(set(pair)) > 1), len(first))
    length = min(alike, min(map(len, rows)) - 1)
    cache = None
    if share and length * (len(rows) - 1) >= WORTH_TOKENS:
        read = torch.tensor([first[:length]], device=model.device)
        cache = model(input_ids=read, use_cache=True, logits_to_keep=1).past_key_values
        if all(type(layer) is DynamicLayer for layer in cache.layers):
            cache.reorder_cache(torch.zeros(len(rows), dtype=torch.int64, device=model.device))
        else:
            cache = None
    kept = length if cache is not None else 0
    input_ids, mask = left_padded([row[kept:] for row in rows], pad=pad)
    if kept:
        begun = torch.tensor(first[:kept]).expand(len(rows), kept)
        input_ids = torch.cat([begun, input_ids], dim=1)
        mask = torch.cat([torch.ones_like(begun), mask], dim=1)
    return input_ids.to(model.device), mask.to(model.device), cache


def left_padded(rows: Sequence[Sequence[int]], *, pad: int) -> tuple[Tensor, Tensor]:
    """Rows of token ids as `[rows, longest]` int64 filled with `pad` on the left, and the attention mask."""
    longest = max(map(len, rows))
    input_ids = torch.full((len(rows), longest), pad, dtype=torch.int64)
    attention_mask = torch.zeros_like(input_ids)
    for number, row in enumerate(rows):
        input_ids[number, longest - len(row) :] = torch.tensor(row, dtype=torch.int64)
        attention_mask[number, longest - len(row) :] = 1
    return input_ids, attention_mask
