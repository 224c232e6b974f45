"""How far a policy is from its SFT model on given completions."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import kl_div

from omsweep.evaluation.backends.batches import batches, vocabulary
from omsweep.evaluation.isolation import evaluation_mode
from omsweep.evaluation.spread import Models, Spread, alone

LOGITS_AT_A_TIME = {"cpu": 2**21}
"""Most logits of one batch by device type: what stays near a CPU's caches takes half the time of larger batches."""

LOGITS_AT_A_TIME_ELSEWHERE = 2**27


def divergences(
    model: Any,
    reference_model: Any,
    prompts: Sequence[Sequence[int]],
    completions: Sequence[Sequence[int]],
    *,
    batch_size: int = 256,
    spread: Spread = alone,
) -> np.ndarray:
    """Two divergences of each completion y of x from the same passes: `[rows, 2]`, float64, nats per completion.

    With p the policy and q the SFT model, both at temperature 1, the sums over the completion's tokens t of

        KL(p(. | x, y_<t) || q(. | x, y_<t)), over the whole vocabulary,
        log p(y_t | x, y_<t) - log q(y_t | x, y_<t).

    Over completions drawn from p both have the mean KL(p || q) per completion; the first has the smaller variance.
    A model against itself gives 0. Log probabilities are taken for `LOGITS_AT_A_TIME` logits at a time; what must fit
    besides are both models' logits of a batch, of one row at least.

    Args:
        model: the policy, a causal model of transformers.
        reference_model: the SFT model, with the same vocabulary.
        prompts: token ids of each row's prompt, at least one token.
        completions: token ids of each row's completion, end token included if it counts.
        batch_size: most rows at a time; fewer are taken where rows are long and the vocabulary large.
        spread: who computes the batches.
    """
    limit = LOGITS_AT_A_TIME.get(model.device.type, LOGITS_AT_A_TIME_ELSEWHERE)
    tokens = max(1, limit // vocabulary(model))
    result = np.zeros((len(prompts), 2))
    lengths = [len(prompt) + len(completion) for prompt, completion in zip(prompts, completions, strict=True)]
    formed = list(batches([length / tokens for length in lengths], rows=batch_size))
    work = [([prompts[row] for row in rows], [completions[row] for row in rows]) for rows in formed]
    compute = partial(_of_batch, tokens_at_a_time=tokens)
    for rows, found in zip(formed, spread(compute, Models(model, reference=reference_model), work), strict=True):
        result[rows] = found
    return result


def _of_batch(
    models: Models, batch: tuple[Sequence[Sequence[int]], Sequence[Sequence[int]]], *, tokens_at_a_time: int
) -> np.ndarray:
    model, reference_model = models.policy, models.reference
    prompts, completions = batch
    input_ids, attention_mask = _right_padded([[*x, *y] for x, y in zip(prompts, completions, strict=True)])
    inputs = {"input_ids": input_ids.to(model.device), "attention_mask": attention_mask.to(model.device)}
    with evaluation_mode(model), evaluation_mode(reference_model):
        policy, reference = (one(**inputs, use_cache=False).logits for one in (model, reference_model))
    # (row, position) of every completion token
    places = torch.tensor(
        [
            (row, position)
            for row, (x, y) in enumerate(zip(prompts, completions, strict=True))
            for position in range(len(x), len(x) + len(y))
        ],
        device=model.device,
    )
    sums = torch.zeros(len(prompts), 2, dtype=torch.float64)
    for rows, positions in (piece.unbind(dim=1) for piece in places.split(tokens_at_a_time)):
        p, q = (logits[rows, positions - 1].float().log_softmax(dim=-1) for logits in (policy, reference))
        exact = kl_div(q, p, log_target=True, reduction="none").sum(dim=-1)
        drawn = (p - q).gather(-1, inputs["input_ids"][rows, positions, None])[:, 0]
        sums.index_add_(0, rows.cpu(), torch.stack([exact, drawn], dim=1).double().cpu())
    return sums.numpy()


def _right_padded(rows: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """Rows of token ids as `[rows, longest]` int64 and their mask; a causal model never looks to the right."""
    input_ids = torch.zeros(len(rows), max(map(len, rows)), dtype=torch.int64)
    attention_mask = torch.zeros_like(input_ids)
    for number, row in enumerate(rows):
        input_ids[number, : len(row)] = torch.tensor(row, dtype=torch.int64)
        attention_mask[number, : len(row)] = 1
    return input_ids, attention_mask
