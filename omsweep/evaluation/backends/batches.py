"""Which rows a model computes together: formed from the rows alone, so that every process forms the same batches."""

from collections.abc import Iterator, Sequence
from typing import Any

CACHE_BYTES = {"cpu": 2**31}
"""Most bytes of keys and values that a batch keeps, by device type; of any other device `CACHE_BYTES_ELSEWHERE`."""

CACHE_BYTES_ELSEWHERE = 2**34

LOGITS = 2**27
"""Most logits of a batch that are in memory at a time."""


def batches(shares: Sequence[float], *, rows: int) -> Iterator[list[int]]:
    """Numbers of the rows from the largest to the smallest, batch by batch.

    Args:
        shares: part of a batch's room that each row takes, padded to the largest of its batch; one may take more.
        rows: most rows of a batch.
    """
    order = sorted(range(len(shares)), key=lambda row: -shares[row])
    while order:
        count = min(rows, max(1, int(1 / shares[order[0]] + 1e-9)))
        batch, order = order[:count], order[count:]
        yield batch


def kept_tokens(model: Any) -> int:
    """Tokens whose keys and values a batch of a causal model of transformers may keep."""
    config = model.config.get_text_config()
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    of_a_token = 2 * config.num_hidden_layers * heads * width * model.dtype.itemsize
    return max(1, CACHE_BYTES.get(model.device.type, CACHE_BYTES_ELSEWHERE) // of_a_token)


def vocabulary(model: Any) -> int:
    """Logits of a position."""
    return int(model.config.get_text_config().vocab_size)
