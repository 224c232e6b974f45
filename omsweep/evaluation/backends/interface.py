"""What scoring asks of whoever runs the policy: answers to rendered prompts, and how likely it finds given ones."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

Messages = Sequence[Mapping[str, str]]
"""A chat so far: `[{"role": "user", "content": "..."}, ...]`."""

Continuation = tuple[tuple[int, ...], tuple[int, ...]]
"""Token ids of a context, at least one, and of what is to follow it, at least one."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """One prompt that is to be answered once.

    Attributes:
        text: as the chat template renders it.
        token_ids: what the model reads.
        draw: what a drawn answer's random numbers are made of (`omsweep.evaluation.backends.sampling`); None: no draw.
    """

    text: str
    token_ids: tuple[int, ...]
    draw: tuple[int, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class Completion:
    """One completion.

    Attributes:
        text: decoded without special tokens.
        token_ids: every token generated, the end token included when there is one.
        finished: whether an end token was reached before the longest length.
    """

    text: str
    token_ids: tuple[int, ...]
    finished: bool

    @property
    def length(self) -> int:
        """Tokens without the end token."""
        return len(self.token_ids) - self.finished


class Backend(Protocol):
    """Runs one policy under one `Decoding`; the same questions give the same answers in any order."""

    @property
    def context(self) -> int | None:
        """Most tokens of a prompt and its answer together; None: not known."""

    def answers(
        self, questions: Sequence[Question], *, longest: int, temperature: float = 0.0, stop: Sequence[str] = ()
    ) -> list[Completion]:
        """One completion of each question.

        Args:
            questions: with `draw` unless `temperature` is 0.
            longest: tokens of a completion, end token included.
            temperature: 0: greedy; else that of the draw, top_p 1.
            stop: texts at which a completion may end; it holds the first of them, and maybe some text behind it.
        """

    def likelihoods(self, asked: Sequence[Continuation]) -> list[tuple[float, bool]]:
        """Log-probability of each continuation, nats, and whether each of its tokens is the likeliest there.

        Raises:
            ValueError: this backend gives no likelihoods.
        """

    def divergences(self, asked: Sequence[Continuation]) -> np.ndarray:
        """Exact and sampled divergence of the policy from its SFT model on completions of prompts, `[rows, 2]`.

        See `omsweep.evaluation.backends.likelihood.divergences`; NaN where it cannot be had.
        """


def rendered(tokenizer: Any, chats: Sequence[Messages]) -> list[str]:
    """Each chat under the tokenizer's template, generation prompt included; ValueError without a template."""
    if not getattr(tokenizer, "chat_template", None):
        raise ValueError("the tokenizer has no chat template: give the family one (chat_template), got none")
    return [
        tokenizer.apply_chat_template([dict(m) for m in messages], tokenize=False, add_generation_prompt=True)
        for messages in chats
    ]
