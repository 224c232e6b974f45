"""The embedded architectures: two layers, width 128, random weights."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from omsweep.families.tiny.tokenizer import MAX_LENGTH, build_tokenizer
from omsweep.quiet import without_transformers_bars

_SHAPE: Mapping[str, Any] = {
    "hidden_size": 128,
    "intermediate_size": 256,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": MAX_LENGTH,
    "initializer_range": 0.05,
}


def _llama(settings: dict[str, Any]) -> PreTrainedModel:
    return LlamaForCausalLM(LlamaConfig(**{"tie_word_embeddings": False, **settings}))


def _qwen2(settings: dict[str, Any]) -> PreTrainedModel:
    return Qwen2ForCausalLM(Qwen2Config(**{"tie_word_embeddings": True, "num_key_value_heads": 2, **settings}))


ARCHITECTURES: Mapping[str, Callable[[dict[str, Any]], PreTrainedModel]] = {"llama": _llama, "qwen2": _qwen2}


def build_model(architecture: str, tokenizer: PreTrainedTokenizerFast, *, seed: int, **changes: Any) -> PreTrainedModel:
    """A float32 model with random weights from `seed`; the caller's random state is left as it was.

    Args:
        architecture: `llama` (untied embeddings) or `qwen2` (tied embeddings, biases, two key-value heads).
        tokenizer: gives vocabulary size and special token ids.
        seed: of the weights.
        changes: configuration values other than the embedded families' own, for example `hidden_size=32`.

    Raises:
        ValueError: for an unknown architecture.
    """
    if architecture not in ARCHITECTURES:
        raise ValueError(f"architecture must be one of {', '.join(ARCHITECTURES)}, got {architecture!r}")
    special = {
        "vocab_size": len(tokenizer),
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return ARCHITECTURES[architecture]({**_SHAPE, **special, **changes})


def random_family(folder: Path, architecture: str = "llama", *, seed: int = 0, **changes: Any) -> Path:
    """Write an untrained model and its tokenizer to `folder` as a Hugging Face folder, in well under a second."""
    tokenizer = build_tokenizer()
    write_folder(build_model(architecture, tokenizer, seed=seed, **changes), tokenizer, folder)
    return folder


def write_folder(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Save model and tokenizer as an ordinary Hugging Face folder, without progress bars."""
    if model.config.model_type == "qwen2":
        # For this model type AutoTokenizer puts Qwen2Tokenizer in place of whatever class is declared, except where
        # a class of the folder's own is declared and remote code is off: then it reads tokenizer.json as it is.
        tokenizer.init_kwargs["auto_map"] = {"AutoTokenizer": [None, "no_remote_code_needed.Tokenizer"]}
    with without_transformers_bars():
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
