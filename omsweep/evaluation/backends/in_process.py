"""The backend `transformers`: a causal model of transformers in this process, or in all workers of a group."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from omsweep.evaluation.backends.continuations import likelihoods
from omsweep.evaluation.backends.interface import Completion, Continuation, Question
from omsweep.evaluation.backends.likelihood import divergences
from omsweep.evaluation.generation import answers
from omsweep.evaluation.spread import Models, Spread, alone
from omsweep.families.decoding import Decoding


@dataclass(frozen=True, kw_only=True)
class InProcess:
    """See `omsweep.evaluation.backends.interface.Backend`.

    Attributes:
        models: the policy, its tokenizer, and the SFT model where `divergences` are wanted.
        decoding: what ends an answer, and the penalty.
        batch_size: most rows at a time.
        spread: who computes the batches.
    """

    models: Models
    decoding: Decoding
    batch_size: int = 256
    spread: Spread = alone

    @property
    def context(self) -> int | None:
        """The model's `max_position_embeddings`."""
        context: int | None = getattr(self.models.policy.config.get_text_config(), "max_position_embeddings", None)
        return context

    def answers(
        self, questions: Sequence[Question], *, longest: int, temperature: float = 0.0, stop: Sequence[str] = ()
    ) -> list[Completion]:
        """By `omsweep.evaluation.generation.answers`."""
        return answers(
            self.models,
            questions,
            decoding=self.decoding,
            longest=longest,
            temperature=temperature,
            stop=stop,
            batch_size=self.batch_size,
            spread=self.spread,
        )

    def likelihoods(self, asked: Sequence[Continuation]) -> list[tuple[float, bool]]:
        """By `omsweep.evaluation.backends.continuations.likelihoods`."""
        return likelihoods(self.models, asked, batch_size=self.batch_size, spread=self.spread)

    def divergences(self, asked: Sequence[Continuation]) -> np.ndarray:
        """By `omsweep.evaluation.backends.likelihood.divergences`; NaN without an SFT model."""
        if self.models.reference is None:
            return np.full((len(asked), 2), np.nan)
        return divergences(
            self.models.policy,
            self.models.reference,
            [prompt for prompt, _ in asked],
            [completion for _, completion in asked],
            batch_size=self.batch_size,
            spread=self.spread,
        )
