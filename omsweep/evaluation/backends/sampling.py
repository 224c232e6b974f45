"""Sampling as a function of numbers fixed beforehand, so that a draw depends on seed and prompt only."""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor
from transformers import LogitsProcessor


class InverseCdfSampling(LogitsProcessor):
    """Leaves one token possible in each row: the inverse distribution function at the row's next number.

    `points` is `[rows, max_new_tokens]`, float64 in [0, 1); one column is used for each generated token.
    """

    def __init__(self, points: Tensor, *, temperature: float) -> None:
        self.points, self.temperature, self.step = points, temperature, 0

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Map scores `[rows, vocabulary]` to 0 at the drawn token and -inf elsewhere."""
        cumulative = torch.softmax(scores.double() / self.temperature, dim=-1).cumsum(dim=-1)
        target = self.points[:, self.step, None] * cumulative[:, -1:]
        token = torch.searchsorted(cumulative, target, right=True).clamp(max=scores.shape[-1] - 1)
        self.step += 1
        return torch.full_like(scores, -torch.inf).scatter(-1, token, 0.0)


def draws(prompts: Sequence[Sequence[Mapping[str, str]]], *, samples: int, seed: int) -> list[list[tuple[int, ...]]]:
    """What the random numbers of each prompt's samples are made of: `seed`, sample and prompt content."""
    seen: Counter[bytes] = Counter()
    found = []
    for messages in prompts:
        content = json.dumps([dict(message) for message in messages], sort_keys=True).encode()
        words = np.frombuffer(hashlib.sha256(content).digest(), dtype="<u4").tolist()
        found.append([(sample, seed, seen[content], *words) for sample in range(samples)])
        seen[content] += 1
    return found


def uniforms(drawn: Sequence[tuple[int, ...]], *, length: int) -> Tensor:
    """Uniform numbers `[rows, length]`, float64 in [0, 1), of each draw; fewer of them are a part of more."""
    return torch.from_numpy(np.stack([np.random.default_rng(draw).random(length) for draw in drawn]))


def server_seed(draw: tuple[int, ...]) -> int:
    """The seed of a draw that another program makes, below 2**31."""
    return int(np.random.default_rng(draw).integers(2**31))
