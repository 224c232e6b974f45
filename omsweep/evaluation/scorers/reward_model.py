"""Any Hugging Face sequence classification model with one output, as a reward model."""

import gc
import warnings
from collections.abc import Mapping, Sequence
from functools import lru_cache, partial
from typing import Any

import torch

from omsweep.evaluation.rewards.reward_models import trained_folder
from omsweep.evaluation.settings import RewardSettings
from omsweep.evaluation.spread import Models, Spread, alone
from omsweep.foreign import calling
from omsweep.quiet import without_transformers_bars


class RewardModelScorer:
    """The model's single logit, raw, for the chat with the completion as the assistant's turn.

    Model and tokenizer are loaded at the first score and kept by the process until `free`. A
    tokenizer with a chat template renders the whole chat; one without gets the last turn and the completion as a text
    pair.

    Args:
        model: folder or hub id, also `id@revision`; safetensors only, no remote code.
        revision: on the hub, None = its default.
        dtype: torch dtype by name.
        device: `auto` (the GPU where there is one), `cpu` or `cuda`.
        batch_size: pairs at a time.
    """

    def __init__(
        self, model: str, *, revision: str | None, dtype: str, device: str = "auto", batch_size: int = 16
    ) -> None:
        self.name, self.revision, self.dtype, self.device = model, revision, dtype, device
        self.batch_size = batch_size

    def score(
        self, prompts: Sequence[Sequence[Mapping[str, str]]], completions: Sequence[str], *, spread: Spread = alone
    ) -> list[float]:
        """One logit for each pair; warns when pairs had to be cut to the model's context."""
        model, tokenizer = loaded(self.name, self.revision, self.dtype, self.device)
        encoded = [
            self._encode(tokenizer, messages, completion)
            for messages, completion in zip(prompts, completions, strict=True)
        ]
        context = getattr(model.config, "max_position_embeddings", None)
        long = [row for row in encoded if context is not None and len(row["input_ids"]) > context]
        if long:
            warnings.warn(
                f"{len(long)} of {len(encoded)} completions were cut to the reward model's {context} tokens",
                stacklevel=2,
            )
        order = sorted(range(len(encoded)), key=lambda row: -len(encoded[row]["input_ids"]))
        batches = [order[start : start + self.batch_size] for start in range(0, len(order), self.batch_size)]
        work = [[{key: ids[:context] for key, ids in encoded[row].items()} for row in batch] for batch in batches]
        compute = partial(_logits, name=self.name, revision=self.revision, dtype=self.dtype, device=self.device)
        scores = [0.0] * len(encoded)
        for batch, logits in zip(batches, spread(compute, Models(), work), strict=True):
            for row, logit in zip(batch, logits, strict=True):
                scores[row] = logit
        return scores

    def _encode(self, tokenizer: Any, messages: Sequence[Mapping[str, str]], completion: str) -> dict[str, Any]:
        if not tokenizer.chat_template:
            return dict(tokenizer(messages[-1]["content"], completion))
        chat = [*map(dict, messages), {"role": "assistant", "content": completion}]
        what = f"render the chat that ends with {messages[-1]['content']!r:.80} and its answer for reward model"
        with calling(f"{what} {self.name}"):
            text = tokenizer.apply_chat_template(chat, tokenize=False)
        return dict(tokenizer(text, add_special_tokens=False))


@torch.no_grad()
def _logits(
    models: Models, batch: list[dict[str, Any]], *, name: str, revision: str | None, dtype: str, device: str
) -> list[float]:
    model, tokenizer = loaded(name, revision, dtype, device)
    inputs = tokenizer.pad(batch, padding_side="right", return_tensors="pt").to(model.device)
    logits: list[float] = model(**inputs).logits.float()[:, 0].tolist()
    return logits


@lru_cache(maxsize=2)
def loaded(name: str, revision: str | None, dtype: str, device: str = "auto") -> tuple[Any, Any]:
    """A reward model and its tokenizer, on the device; ValueError for `cuda` where there is none."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    from omsweep.families.load import find

    folder, _ = find(name, revision=revision)
    with calling(f"load the reward model {name}"), without_transformers_bars():
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        model = AutoModelForSequenceClassification.from_pretrained(
            folder,
            dtype=getattr(torch, dtype),
            use_safetensors=True,
            trust_remote_code=False,
        )
    if model.config.num_labels != 1:
        raise ValueError(f"reward model {name!r} must have 1 output, got {model.config.num_labels}")
    if tokenizer.pad_token_id is None:
        raise ValueError(f"the tokenizer of reward model {name!r} has no padding token: give it a pad_token")
    if model.config.pad_token_id is None:
        # Decoder classifiers find a row's last token by the padding token.
        model.config.pad_token_id = tokenizer.pad_token_id
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError(
            f"reward model {name!r} needs a GPU (device: cuda), and this process has none: use auto or cpu"
        )
    place = device if device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
    return model.to(place).eval(), tokenizer


def free() -> None:
    """Let go of all reward models of this process, and of the GPU memory that they had."""
    loaded.cache_clear()
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def build(reward: RewardSettings) -> RewardModelScorer:
    """The scorer for `reward.model`; nothing is loaded yet.

    Raises:
        ValueError: an embedded reward model that has not been trained.
    """
    assert reward.model is not None
    return RewardModelScorer(
        trained_folder(reward.model), revision=reward.revision, dtype=reward.dtype, device=reward.device
    )
