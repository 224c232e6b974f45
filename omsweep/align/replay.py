"""SFT data replayed beside preferences: which examples a pass holds, how they are collated, and their loss.

Of the `batch_size` examples of a step, `replayed` are SFT examples and the rest pairs, the same number of both in every
pass of every worker. The loss of a pass is the mean over its examples: with a share s of them replayed

    (1 - s) x preference loss of the pairs + s x mean negative log-likelihood per answer token of the SFT examples.

Replayed examples are prepared as pairs are, with the answer on both sides; the side of the rejected is never read.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from datasets import Dataset, concatenate_datasets
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from omsweep.align.order import Reading

REPLAYED = "replayed"
"""Column that marks SFT examples among pairs."""
IGNORED = -100


def with_replay(pairs: Dataset, examples: Dataset, *, readings: tuple[Reading, Reading], passes: int) -> Dataset:
    """Pairs in training order with SFT examples among them, pass by pass: first its pairs, then its SFT examples.

    Args:
        pairs: as prepared, not in order; so are `examples`.
        readings: how the run goes through both.
        passes: passes of the run, over all steps and workers.
    """
    columns = [name for name in pairs.column_names if name in examples.column_names and name != "prompt"]
    parts = [
        data.select_columns(columns).add_column(REPLAYED, [marked] * len(data))
        for data, marked in ((pairs, False), (examples, True))
    ]
    orders = [reading.order(len(data)).reshape(passes, -1) for data, reading in zip(parts, readings, strict=True)]
    order = np.concatenate([orders[0], len(pairs) + orders[1]], axis=1).reshape(-1)
    return concatenate_datasets(parts).select(order)


@dataclass(frozen=True)
class MixedCollator:
    """Pairs as `collate_pairs` makes them a batch, and beside them SFT examples under `replay_*`.

    `replay_input_ids`, `replay_attention_mask`, `replay_labels` are int64 [R, T]: right-padded, labels `IGNORED` where
    no answer is.
    """

    collate_pairs: Callable[[list[dict[str, Any]]], dict[str, Tensor]]
    pad_token_id: int
    max_length: int

    def __call__(self, examples: list[dict[str, Any]]) -> dict[str, Tensor]:
        """One pass."""
        batch = self.collate_pairs([example for example in examples if not example[REPLAYED]])
        chosen = [(example["prompt_ids"], example["chosen_ids"]) for example in examples if example[REPLAYED]]
        ids = [torch.tensor((prompt + answer)[: self.max_length]) for prompt, answer in chosen]
        labels = [
            torch.where(torch.arange(len(row)) < len(prompt), IGNORED, row)
            for row, (prompt, _) in zip(ids, chosen, strict=True)
        ]
        return batch | {
            "replay_input_ids": pad_sequence(ids, batch_first=True, padding_value=self.pad_token_id),
            "replay_attention_mask": pad_sequence([torch.ones_like(row) for row in ids], batch_first=True),
            "replay_labels": pad_sequence(labels, batch_first=True, padding_value=IGNORED),
        }


def parted(batch: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """A collated pass as (what TRL's loss takes, `input_ids`, `attention_mask` and `labels` of SFT examples or {})."""
    replay = {name.removeprefix("replay_"): value for name, value in batch.items() if name.startswith("replay_")}
    return {name: value for name, value in batch.items() if not name.startswith("replay_")}, replay


def replay_loss(model: Any, replay: Mapping[str, Tensor]) -> Tensor:
    """Mean negative log-likelihood in nats of the labelled tokens; the model carries TRL's fused output head."""
    outputs = model(**replay, fused_lm_head=True, use_cache=False)
    return -outputs.log_probs[replay["labels"][:, 1:] != IGNORED].mean()
