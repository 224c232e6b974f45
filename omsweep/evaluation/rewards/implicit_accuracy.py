"""Whether a policy has learnt held-out preferences: it leans further towards the chosen answers than its SFT model.

With the implicit reward r(x, y) = log p(y | x) - log q(y | x) of a policy p and its SFT model q (arXiv:2305.18290, up
to beta), a pair counts 1 where r is larger for the chosen answer, 0 where it is smaller and 0.5 where both are equal,
as they are for the SFT model itself.
"""

from typing import Any

import numpy as np
import pandas as pd

from omsweep.evaluation.backends.likelihood import divergences
from omsweep.evaluation.generation import encode_prompts
from omsweep.evaluation.prompts import read_reward_prompts
from omsweep.evaluation.settings import RewardSettings, prompts_path
from omsweep.evaluation.spread import Spread, alone
from omsweep.families.decoding import Decoding

EVEN = 0.5


def score_pairs(
    model: Any,
    tokenizer: Any,
    *,
    reward: RewardSettings,
    split: str,
    limit: int | None = None,
    reference_model: Any = None,
    decoding: Decoding,
    batch_size: int = 256,
    kind: str = "beside",
    spread: Spread = alone,
) -> pd.DataFrame:
    """One row for each pair of a split, with score 0, 0.5 or 1, in the columns of `score.COLUMNS` that it has.

    Args:
        model: the policy.
        tokenizer: its tokenizer, with a chat template.
        reward: names the file of prompts, each with `chosen` and `rejected`.
        split: `search` or `report`.
        limit: pairs, a random sample of the split; None = all.
        reference_model: the SFT model; None: `model` is the SFT model, or cannot be compared with it.
        decoding: what ends an answer.
        batch_size: answers at a time.
        kind: of the rows.
        spread: who computes the batches.

    Raises:
        ValueError: a prompt without a pair of answers, or what `read_reward_prompts` raises.
    """
    path = prompts_path(reward.prompts)
    prompts = read_reward_prompts(path, split=split, limit=limit)
    for one in prompts:
        if one.pair is None:
            raise ValueError(f"{path}: implicit_accuracy needs chosen and rejected, prompt {one.item_id} has none")
    scores = np.full(len(prompts), EVEN)
    if reference_model is not None:
        asked = encode_prompts(tokenizer, [one.messages for one in prompts])
        texts = [answer for one in prompts for answer in one.pair or ()]
        ids = [[*found, decoding.ends[0]] for found in tokenizer(texts, add_special_tokens=False)["input_ids"]]
        twice = [one for one in asked for _ in range(2)]
        told = divergences(model, reference_model, twice, ids, batch_size=batch_size, spread=spread)[:, 1]
        scores = (np.sign(told[::2] - told[1::2]) + 1) / 2
    return pd.DataFrame(
        {
            "kind": kind,
            "task": reward.called,
            "category": [one.category for one in prompts],
            "item_id": [one.item_id for one in prompts],
            "cluster": [one.cluster for one in prompts],
            "split": split,
            "decoder": "sampled",
            "sample": 0,
            "score": scores,
        }
    )


def build(reward: RewardSettings) -> Any:
    """No scorer: ValueError, since it tells of a policy and not of its answers."""
    raise ValueError(f"{reward.scorer} scores policies by likelihoods: it is recorded in evaluate.rewards only")
