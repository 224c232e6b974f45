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


def uniforms(prompts: Sequence[Sequence[Mapping[str, str]]], *, samples: int, length: int, seed: int) -> Tensor:
    """Uniform numbers `[prompts, samples, length]`, float64 in [0, 1), from `seed` and prompt content."""
    seen: Counter[bytes] = Counter()
    points = np.empty((len(prompts), samples, length))
    for number, messages in enumerate(prompts):
        content = json.dumps([dict(message) for message in messages], sort_keys=True).encode()
        words = np.frombuffer(hashlib.sha256(content).digest(), dtype="<u4").tolist()
        entropy = [seed, seen[content], *words]
        seen[content] += 1
        for sample in range(samples):
            points[number, sample] = np.random.default_rng([sample, *entropy]).random(length)
    return torch.from_numpy(points)
