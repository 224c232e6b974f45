"""How likely a model finds given continuations of given contexts; a context that several share is read once."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from omsweep.evaluation.backends.batches import LOGITS, batches, kept_tokens, vocabulary
from omsweep.evaluation.backends.interface import Continuation
from omsweep.evaluation.backends.prefix import read_prompts
from omsweep.evaluation.isolation import evaluation_mode
from omsweep.evaluation.spread import Models, Spread, alone

Read = tuple[tuple[int, ...], list[tuple[int, ...]]]
"""A context and its continuations."""


def likelihoods(
    models: Models, asked: Sequence[Continuation], *, batch_size: int = 256, spread: Spread = alone
) -> list[tuple[float, bool]]:
    """Log-probability of each continuation and whether greedy decoding would write it, as lm-eval defines both.

    The sum over the continuation's tokens of log softmax of the logits, in float32, nats; and whether each token has
    the largest logit. A context is read once, with logits at its last token alone, and what all contexts of a batch
    begin with is read once too; keys and values are then repeated for each continuation.

    Args:
        models: the policy.
        asked: contexts with their continuations.
        batch_size: most continuations at a time; see `omsweep.evaluation.backends.batches` for what else counts.
        spread: who computes the batches.
    """
    together: dict[tuple[int, ...], list[int]] = {}
    for number, (context, _) in enumerate(asked):
        together.setdefault(context, []).append(number)
    groups = list(together.items())
    kept, logits = kept_tokens(models.policy), vocabulary(models.policy) / LOGITS
    shares = []
    for context, numbers in groups:
        longest = max(len(asked[number][1]) for number in numbers)
        shares.append(len(numbers) * max((len(context) + longest) / kept, longest * logits, 1 / batch_size))
    found: list[Any] = [None] * len(asked)
    formed = list(batches(shares, rows=batch_size))
    work: list[list[Read]] = [
        [(groups[place][0], [asked[number][1] for number in groups[place][1]]) for place in batch] for batch in formed
    ]
    for batch, of_batch in zip(formed, spread(_of_batch, models, work), strict=True):
        numbers = [number for place in batch for number in groups[place][1]]
        for number, one in zip(numbers, of_batch, strict=True):
            found[number] = one
    return found


def _of_batch(models: Models, batch: Sequence[Read]) -> list[tuple[float, bool]]:
    model = models.policy
    owner = torch.tensor([n for n, (_, each) in enumerate(batch) for _ in each], device=model.device)
    wanted = [torch.tensor(one, device=model.device) for _, each in batch for one in each]
    with evaluation_mode(model):
        input_ids, mask, cache = read_prompts(model, [context for context, _ in batch], pad=0)
        known = 0 if cache is None else cache.get_seq_length()
        read = model(
            input_ids=input_ids[:, known:],
            attention_mask=mask,
            position_ids=_positions(mask)[:, known:],
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        logits = read.logits[:, -1:][owner]
        given = pad_sequence([one[:-1] for one in wanted], batch_first=True)
        if given.shape[1]:
            lengths = torch.tensor([len(one) - 1 for one in wanted], device=model.device)
            more = (torch.arange(given.shape[1], device=model.device) < lengths[:, None]).to(mask.dtype)
            whole = torch.cat([mask[owner], more], dim=1)
            read.past_key_values.reorder_cache(owner)
            rest = model(
                input_ids=given,
                attention_mask=whole,
                position_ids=_positions(whole)[:, mask.shape[1] :],
                past_key_values=read.past_key_values,
                use_cache=True,
            )
            logits = torch.cat([logits, rest.logits], dim=1)
    return [_likelihood(logits[row, : len(one)], one) for row, one in enumerate(wanted)]


def _positions(mask: Tensor) -> Tensor:
    return (mask.cumsum(dim=1) - 1).clamp(min=0)


def _likelihood(logits: Tensor, tokens: Tensor) -> tuple[float, bool]:
    picked = logits.float().log_softmax(dim=-1).gather(-1, tokens[:, None])
    return float(picked.sum()), bool((logits.argmax(dim=-1) == tokens).all())
