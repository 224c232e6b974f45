"""What turns text into tokens, as one hash: training and scoring must agree on it."""

import hashlib
import json

from transformers import PreTrainedTokenizerBase


def tokenizer_hash(tokenizer: PreTrainedTokenizerBase) -> str:
    """Sixteen hex digits of chat template, special tokens and vocabulary."""
    content = {
        "chat_template": tokenizer.chat_template,
        "special_tokens": {name: str(token) for name, token in tokenizer.special_tokens_map.items()},
        "vocabulary": sorted(tokenizer.get_vocab().items()),
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
