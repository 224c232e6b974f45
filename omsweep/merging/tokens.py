"""A tokenizer's tokens by number, and which tensors have a row for each of them. Torch-free."""

import json
from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TypeAlias

from omsweep.merging.names import layer_of

NAMES = ("*embed_tokens*", "*wte*", "*word_embeddings*", "*embed_in*", "*lm_head*", "*embed_out*")
"""Tensors that have a row for each token."""

TokenIds: TypeAlias = Mapping[str, int]


def token_ids(folder: str | Path) -> dict[str, int] | None:
    """The numbers of a folder's tokens by its `tokenizer.json`; None where there is none that says."""
    try:
        content = json.loads((Path(folder) / "tokenizer.json").read_text(encoding="utf-8"))
        vocabulary = content["model"]["vocab"]
        known = vocabulary if isinstance(vocabulary, dict) else {token: i for i, (token, _) in enumerate(vocabulary)}
        found = {**known, **{token["content"]: token["id"] for token in content.get("added_tokens") or ()}}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return found if all(isinstance(number, int) for number in found.values()) else None


def of_vocabulary(name: str) -> bool:
    """Whether a tensor's name is that of an embedding or a head."""
    return layer_of(name) is None and any(fnmatchcase(name, pattern) for pattern in NAMES)


def special_tokens(folder: str | Path) -> list[str]:
    """The tokens that a folder's `tokenizer.json` adds to its vocabulary, such as the marks of turns."""
    try:
        content = json.loads((Path(folder) / "tokenizer.json").read_text(encoding="utf-8"))
        return [str(token["content"]) for token in content.get("added_tokens") or ()]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return []
