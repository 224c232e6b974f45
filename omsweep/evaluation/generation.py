"""Completions of chat prompts by a Hugging Face causal model, the same ones for the same seed."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm
from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList

from omsweep.evaluation.isolation import evaluation_mode

Messages = Sequence[Mapping[str, str]]
"""A chat so far: `[{"role": "user", "content": "..."}, ...]`."""


@dataclass(frozen=True, kw_only=True)
class Completion:
    """One completion.

    Attributes:
        text: decoded without special tokens.
        token_ids: every token generated, the end token included when there is one.
        finished: whether an end token was reached before `max_new_tokens`.
    """

    text: str
    token_ids: tuple[int, ...]
    finished: bool

    @property
    def length(self) -> int:
        """Tokens without the end token."""
        return len(self.token_ids) - self.finished


def generate(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[Messages],
    *,
    samples: int = 1,
    temperature: float = 1.0,
    max_new_tokens: int = 64,
    seed: int = 0,
    batch_size: int = 256,
    progress: bool = False,
) -> list[list[Completion]]:
    """Complete every prompt `samples` times.

    The t-th token of a completion is the inverse of the model's distribution function (softmax of logits /
    temperature, top_p 1) at a uniform number that depends on (seed, prompt, how often the prompt came before,
    sample, t) only, not on the order of prompts, the batch, the model or any global random state. Two models
    given one seed are therefore compared under common random numbers. The model's own generation defaults
    (top_k, penalties) are not used.

    Args:
        model: a causal model of transformers; weights, mode and generation settings stay as they are.
        tokenizer: has a chat template; the prompt ends with the template's generation prompt.
        prompts: chats to complete.
        samples: completions per prompt; with `temperature` 0 they are all the same.
        temperature: above 0, or exactly 0 for greedy decoding (first largest logit).
        max_new_tokens: longest completion, in tokens, end token included.
        seed: at least 0.
        batch_size: completions generated at a time.
        progress: draw a progress bar.

    Returns:
        `samples` completions for each prompt, in the prompts' order.

    Raises:
        ValueError: settings out of range, no chat template, or a prompt too long for the model's context.
    """
    _check(
        samples=samples,
        temperature=temperature,
        max_new_tokens=max_new_tokens,
        seed=seed,
        batch_size=batch_size,
    )
    prompt_ids = encode_prompts(tokenizer, prompts)
    _check_room(model, prompt_ids, max_new_tokens)
    drawn = 1 if temperature == 0 else samples
    noise = uniforms(prompts, samples=drawn, length=max_new_tokens, seed=seed) if temperature > 0 else None
    # Neighbours of like length waste little padding; the noise belongs to the prompt, not to the order.
    rows = sorted(
        ((prompt, sample) for prompt in range(len(prompts)) for sample in range(drawn)),
        key=lambda row: (-len(prompt_ids[row[0]]), row),
    )
    completed: dict[tuple[int, int], Completion] = {}
    with evaluation_mode(model), _neutral_generation(model, tokenizer, max_new_tokens) as ends:
        for start in tqdm(range(0, len(rows), batch_size), desc="generate", unit="batch", disable=not progress):
            batch = rows[start : start + batch_size]
            processors = LogitsProcessorList()
            if noise is not None:
                points = torch.stack([noise[prompt, sample] for prompt, sample in batch])
                processors.append(InverseCdfSampling(points.to(model.device), temperature=temperature))
            input_ids, attention_mask = left_padded([prompt_ids[prompt] for prompt, _ in batch], pad=ends[0])
            output = model.generate(
                input_ids=input_ids.to(model.device),
                attention_mask=attention_mask.to(model.device),
                logits_processor=processors,
            )
            generated = output[:, input_ids.shape[1] :].tolist()
            for row, tokens in zip(batch, generated, strict=True):
                completed[row] = _completion(tokenizer, tokens, ends)
    return [[completed[prompt, sample % drawn] for sample in range(samples)] for prompt in range(len(prompts))]


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


def uniforms(prompts: Sequence[Messages], *, samples: int, length: int, seed: int) -> Tensor:
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


def encode_prompts(tokenizer: Any, prompts: Sequence[Messages]) -> list[list[int]]:
    """Token ids of each chat under the tokenizer's template, generation prompt included."""
    if not getattr(tokenizer, "chat_template", None):
        raise ValueError("the tokenizer has no chat template: give the family one (chat_template), got none")
    texts = [
        tokenizer.apply_chat_template([dict(m) for m in messages], tokenize=False, add_generation_prompt=True)
        for messages in prompts
    ]
    return tokenizer(texts, add_special_tokens=False)["input_ids"] if texts else []


def left_padded(rows: Sequence[Sequence[int]], *, pad: int) -> tuple[Tensor, Tensor]:
    """Rows of token ids as `[rows, longest]` int64 filled with `pad` on the left, and the attention mask."""
    longest = max(map(len, rows))
    input_ids = torch.full((len(rows), longest), pad, dtype=torch.int64)
    attention_mask = torch.zeros_like(input_ids)
    for number, row in enumerate(rows):
        input_ids[number, longest - len(row) :] = torch.tensor(row, dtype=torch.int64)
        attention_mask[number, longest - len(row) :] = 1
    return input_ids, attention_mask


@contextmanager
def _neutral_generation(model: Any, tokenizer: Any, max_new_tokens: int) -> Iterator[list[int]]:
    """Replace the model's generation defaults by plain decoding; yields the end tokens."""
    saved = model.generation_config
    own_ends = saved.eos_token_id if isinstance(saved.eos_token_id, list) else [saved.eos_token_id]
    ends = list(dict.fromkeys(end for end in [tokenizer.eos_token_id, *own_ends] if end is not None))
    if not ends:
        raise ValueError("neither the tokenizer nor the model names an end token (eos_token)")
    model.generation_config = GenerationConfig(
        do_sample=False,
        max_new_tokens=max_new_tokens,
        eos_token_id=ends,
        pad_token_id=ends[0],
        use_cache=True,
    )
    try:
        yield ends
    finally:
        model.generation_config = saved


def _completion(tokenizer: Any, tokens: Sequence[int], ends: Sequence[int]) -> Completion:
    stop = next((place for place, token in enumerate(tokens) if token in ends), None)
    kept = tokens if stop is None else tokens[: stop + 1]
    body = kept if stop is None else kept[:-1]
    text = tokenizer.decode(body, skip_special_tokens=True)
    return Completion(text=text, token_ids=tuple(kept), finished=stop is not None)


def _check(*, temperature: float, seed: int, **at_least_one: int) -> None:
    for name, value in at_least_one.items():
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")
    if not 0 <= temperature < float("inf"):
        raise ValueError(f"temperature must be 0 (greedy) or above, got {temperature}")
    if seed < 0:
        raise ValueError(f"seed must be at least 0, got {seed}")


def _check_room(model: Any, prompt_ids: Sequence[Sequence[int]], max_new_tokens: int) -> None:
    context = getattr(model.config, "max_position_embeddings", None)
    for number, ids in enumerate(prompt_ids):
        if context is not None and len(ids) + max_new_tokens > context:
            raise ValueError(
                f"prompt {number} has {len(ids)} tokens, which leaves no room for "
                f"max_new_tokens={max_new_tokens} in the model's context of {context}"
            )
