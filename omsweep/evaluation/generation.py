"""Completions of chat prompts by a Hugging Face causal model, the same ones for the same seed."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from transformers import (
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
    RepetitionPenaltyLogitsProcessor,
    StoppingCriteriaList,
)

from omsweep.evaluation.isolation import evaluation_mode
from omsweep.evaluation.sampling import InverseCdfSampling, uniforms
from omsweep.evaluation.spread import Models, Spread, alone
from omsweep.families.decoding import Decoding, resolved_decoding

Messages = Sequence[Mapping[str, str]]
"""A chat so far: `[{"role": "user", "content": "..."}, ...]`."""

Row = tuple[int, int]
"""Number of a prompt and of a sample."""

FIRST_PHASE = 16
"""Tokens after which finished completions leave the batch for the first time."""


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
    decoding: Decoding | None = None,
    samples: int = 1,
    temperature: float = 1.0,
    max_new_tokens: int = 64,
    seed: int = 0,
    batch_size: int = 256,
    spread: Spread = alone,
    on_finished: Callable[[int], object] | None = None,
) -> list[list[Completion]]:
    """Complete every prompt `samples` times.

    The t-th token of a completion is the inverse of the model's distribution function (softmax of logits /
    temperature, top_p 1) at a uniform number that depends on (seed, prompt, how often the prompt came before,
    sample, t) only, not on the order of prompts, the batch, the model or any global random state. Two models
    given one seed are therefore compared under common random numbers. The model's own generation defaults
    (top_k, penalties) are not used, only `decoding` counts.

    Args:
        model: a causal model of transformers; weights, mode and generation settings stay as they are.
        tokenizer: has a chat template; the prompt ends with the template's generation prompt.
        prompts: chats to complete.
        decoding: stop tokens and penalty; None: those of tokenizer and model.
        samples: completions per prompt; with `temperature` 0 they are all the same.
        temperature: above 0, or exactly 0 for greedy decoding (first largest logit).
        max_new_tokens: longest completion, in tokens, end token included.
        seed: at least 0.
        batch_size: completions generated at a time.
        spread: who generates the batches.
        on_finished: called with the number of completions finished since it was called last.

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
    decoding = decoding or resolved_decoding(tokenizer, model.generation_config)
    ends = decoding.ends
    _check_room(model, prompt_ids, max_new_tokens)
    drawn = 1 if temperature == 0 else samples
    points = uniforms(prompts, samples=drawn, length=max_new_tokens, seed=seed) if temperature > 0 else None
    # Neighbours of like length waste little padding; the points belong to the prompt, not to the order.
    rows = sorted(
        ((prompt, sample) for prompt in range(len(prompts)) for sample in range(drawn)),
        key=lambda row: (-len(prompt_ids[row[0]]), row),
    )
    tokens: dict[Row, list[int]] = {row: [] for row in rows}
    models = Models(model)
    for first, last in _phases(max_new_tokens):
        batches = [rows[start : start + batch_size] for start in range(0, len(rows), batch_size)]
        work = [
            (
                [prompt_ids[row[0]] + tokens[row] for row in batch],
                None if points is None else torch.stack([points[row][first:last] for row in batch]),
            )
            for batch in batches
        ]
        compute = partial(_extended, steps=last - first, decoding=decoding, temperature=temperature)
        for batch, extended in zip(batches, spread(compute, models, work), strict=True):
            for row, more in zip(batch, extended, strict=True):
                tokens[row] += more
            if on_finished is not None:
                longest = last == max_new_tokens
                on_finished(len(batch) if longest else sum(tokens[row][-1] in ends for row in batch))
        rows = [row for row in rows if tokens[row][-1] not in ends]
    completions = {row: _completion(tokenizer, tokens[row], ends) for row in tokens}
    return [[completions[prompt, sample % drawn] for sample in range(samples)] for prompt in range(len(prompts))]


def _phases(max_new_tokens: int) -> Iterator[tuple[int, int]]:
    """Ranges of token places, each twice as long as the one before.

    Between two of them finished completions leave the batch, and the rest are gathered and read anew: most completions
    are much shorter than the longest, and a batch is as slow as its longest.
    """
    first, length = 0, FIRST_PHASE
    while first < max_new_tokens:
        yield first, min(first + length, max_new_tokens)
        first, length = first + length, 2 * length


def _extended(
    models: Models, batch: tuple[Any, Tensor | None], *, steps: int, decoding: Decoding, temperature: float
) -> list[list[int]]:
    """More tokens for the contexts of a batch, drawn at its points `[rows, steps]`, or greedily without any."""
    contexts, points = batch
    model, processors = models.policy, []
    if points is not None:
        processors.append(InverseCdfSampling(points.to(model.device), temperature=temperature))
    with evaluation_mode(model):
        padded = left_padded(contexts, pad=decoding.ends[0])
        return extend(model, *padded, steps=steps, decoding=decoding, processors=processors)


def extend(
    model: Any,
    input_ids: Tensor,
    attention_mask: Tensor,
    *,
    steps: int,
    decoding: Decoding,
    processors: Sequence[LogitsProcessor] = (),
    stopping: StoppingCriteriaList | None = None,
) -> list[list[int]]:
    """Up to `steps` more tokens for each row, none after a stop token: the one place where text is generated.

    Args:
        model: in evaluation mode; its own generation settings are put back.
        input_ids: `[rows, longest]`, padded on the left.
        attention_mask: the same shape, 0 where padding is.
        steps: most tokens.
        decoding: what ends a row, and the penalty.
        processors: applied to the scores after the penalty; without any the largest score wins.
        stopping: may end all rows earlier.
    """
    input_ids, attention_mask = input_ids.to(model.device), attention_mask.to(model.device)
    penalty = []
    if decoding.repetition_penalty != 1:
        padding = (attention_mask == 0).sum(dim=1)
        penalty = [RepetitionPenaltyLogitsProcessor(decoding.repetition_penalty, prompt_ignore_length=padding)]
    with _own_generation_config(model, decoding.ends):
        output = model.generate(
            input_ids=input_ids,
            attention_mask=attention_mask,
            logits_processor=LogitsProcessorList([*penalty, *processors]),
            stopping_criteria=stopping,
            max_new_tokens=steps,
        )
    generated: list[list[int]] = output[:, input_ids.shape[1] :].tolist()
    stops = [next((place for place, token in enumerate(row) if token in decoding.ends), len(row)) for row in generated]
    return [row[: stop + 1] for row, stop in zip(generated, stops, strict=True)]


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
def _own_generation_config(model: Any, ends: Sequence[int]) -> Iterator[None]:
    """Nothing of the model's generation settings inside, because `generate` fills in what is not given from them."""
    saved = model.generation_config
    model.generation_config = GenerationConfig(
        do_sample=False, eos_token_id=list(ends), pad_token_id=ends[0], use_cache=True
    )
    try:
        yield
    finally:
        model.generation_config = saved


def _completion(tokenizer: Any, tokens: Sequence[int], ends: Sequence[int]) -> Completion:
    finished = tokens[-1] in ends
    text = tokenizer.decode(tokens[:-1] if finished else tokens, skip_special_tokens=True)
    return Completion(text=text, token_ids=tuple(tokens), finished=finished)


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
