"""Log probabilities of given completions, and the divergence from the SFT model they estimate."""

from collections.abc import Sequence
from typing import Any

import torch

from omsweep.evaluation.isolation import evaluation_mode

LOGITS_AT_A_TIME = {"cpu": 2**21}
"""Most logits of one batch by device type: what stays near a CPU's caches takes half the time of larger batches."""

LOGITS_AT_A_TIME_ELSEWHERE = 2**27


def log_probabilities(
    model: Any,
    prompts: Sequence[Sequence[int]],
    completions: Sequence[Sequence[int]],
    *,
    batch_size: int = 256,
) -> list[float]:
    """log p(completion | prompt) in nats: the sum over the completion's tokens, at temperature 1, in float64.

    Args:
        model: a causal model of transformers.
        prompts: token ids of each row's prompt, at least one token.
        completions: token ids of each row's completion, end token included if it counts.
        batch_size: most rows at a time; fewer are taken where rows are long and the vocabulary large.
    """
    limit = LOGITS_AT_A_TIME.get(model.device.type, LOGITS_AT_A_TIME_ELSEWHERE)
    order = sorted(range(len(prompts)), key=lambda row: -(len(prompts[row]) + len(completions[row])))
    result = [0.0] * len(prompts)
    with evaluation_mode(model):
        while order:
            longest = len(prompts[order[0]]) + len(completions[order[0]])
            room = max(1, limit // (longest * model.config.get_text_config().vocab_size))
            batch, order = order[: min(batch_size, room)], order[min(batch_size, room) :]
            input_ids = torch.zeros(len(batch), longest, dtype=torch.int64)
            attention_mask = torch.zeros_like(input_ids)
            for place, row in enumerate(batch):
                tokens = [*prompts[row], *completions[row]]
                input_ids[place, : len(tokens)] = torch.tensor(tokens, dtype=torch.int64)
                attention_mask[place, : len(tokens)] = 1
            # Padding is on the right, where a causal model does not look.
            logits = model(
                input_ids=input_ids.to(model.device),
                attention_mask=attention_mask.to(model.device),
                use_cache=False,
            ).logits
            for place, row in enumerate(batch):
                start, count = len(prompts[row]), len(completions[row])
                scores = logits[place, start - 1 : start - 1 + count].float().log_softmax(dim=-1)
                chosen = input_ids[place, start : start + count, None].to(scores.device)
                result[row] = float(scores.gather(-1, chosen).double().sum())
    return result


def sampled_kl(
    model: Any,
    reference_model: Any,
    prompts: Sequence[Sequence[int]],
    completions: Sequence[Sequence[int]],
    *,
    batch_size: int = 256,
) -> list[float]:
    """log policy - log SFT of each completion, in nats per completion; 0 for a model against itself.

    Its mean over completions drawn from `model` at temperature 1 estimates KL(policy || SFT) per completion.
    """
    policy = log_probabilities(model, prompts, completions, batch_size=batch_size)
    reference = log_probabilities(reference_model, prompts, completions, batch_size=batch_size)
    return [p - r for p, r in zip(policy, reference, strict=True)]
