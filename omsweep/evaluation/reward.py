"""The reward of a policy: its completions of held-out prompts, judged by a scorer."""

import math
import warnings
from typing import Any

import numpy as np
import pandas as pd

from omsweep.evaluation.generation import Completion, encode_prompts, generate
from omsweep.evaluation.likelihood import divergences
from omsweep.evaluation.prompts import read_reward_prompts
from omsweep.evaluation.scorers import make_scorer
from omsweep.evaluation.settings import RewardSettings, prompts_path, reward_from
from omsweep.evaluation.spread import Spread, alone
from omsweep.families.chat_template import check_prompts, template_of
from omsweep.families.decoding import Decoding, resolved_decoding


def score_reward(
    model: Any,
    tokenizer: Any,
    *,
    scorer: RewardSettings | str,
    split: str,
    samples: int = 4,
    temperature: float = 1.0,
    max_new_tokens: int = 64,
    seed: int = 0,
    batch_size: int = 256,
    limit: int | None = None,
    reference_model: Any = None,
    decoding: Decoding | None = None,
    spread: Spread = alone,
) -> pd.DataFrame:
    """Scores of `samples` drawn completions and the greedy one for every prompt of a split.

    Args:
        model: the policy.
        tokenizer: the policy's, with a chat template.
        scorer: name, or settings with prompts.
        split: `search` or `report`.
        samples: completions drawn for each prompt.
        temperature: of the drawn ones.
        max_new_tokens: longest completion.
        seed: of the draws; see `generate` for what they depend on.
        batch_size: completions at a time.
        limit: prompts, a random sample of the split; None = all.
        reference_model: SFT model for `kl`; without it `kl` is NaN.
        decoding: stop tokens and penalty, as for `score_tax`; None: those of tokenizer and model.
        spread: who computes the batches.

    Returns:
        One row per completion, in the columns of `score.COLUMNS`. `length` counts tokens without the end
        token. `kl` is KL(policy || SFT) over the vocabulary and `kl_sampled` is log policy - log SFT, both summed
        over the tokens of a drawn completion (nats; NaN for the greedy one).

    Raises:
        ValueError: unknown names, an empty split, a prompt that the template cannot ask, or what `generate` raises.
    """
    reward = reward_from(scorer)
    prompts = read_reward_prompts(prompts_path(reward.prompts), split=split, limit=limit)
    chats = [prompt.messages for prompt in prompts]
    if getattr(tokenizer, "chat_template", None):  # else `generate` says so
        called = ((f"reward prompt {prompt.item_id}", prompt.messages) for prompt in prompts)
        check_prompts(template_of(tokenizer), called, tokenizer.name_or_path or "the tokenizer")
    decoding = decoding or resolved_decoding(tokenizer, model.generation_config)
    if reference_model is not None and temperature != 1:
        warnings.warn(f"kl is that of temperature 1, but samples are drawn at {temperature}", stacklevel=2)
    if reference_model is not None and decoding.repetition_penalty != 1:
        penalty = decoding.repetition_penalty
        warnings.warn(
            f"kl is that without a penalty, but samples are drawn with repetition_penalty {penalty}", stacklevel=2
        )
    how: dict[str, Any] = {"batch_size": batch_size, "spread": spread}
    drawing: dict[str, Any] = {"max_new_tokens": max_new_tokens, "decoding": decoding, **how}
    sampled = generate(model, tokenizer, chats, samples=samples, temperature=temperature, seed=seed, **drawing)
    greedy = generate(model, tokenizer, chats, temperature=0.0, **drawing)
    rows: list[tuple[int, str, int, Completion]] = [
        (number, decoder, sample, completion)
        for decoder, drawn in (("sampled", sampled), ("greedy", greedy))
        for number, completions in enumerate(drawn)
        for sample, completion in enumerate(completions)
    ]
    scores = make_scorer(reward).score([chats[row[0]] for row in rows], [row[3].text for row in rows], spread=spread)
    kl = np.full((len(rows), 2), math.nan)
    if reference_model is not None:
        # The drawn completions come first, prompt by prompt.
        prompt_ids = [ids for ids in encode_prompts(tokenizer, chats) for _ in range(samples)]
        drawn_ids = [completion.token_ids for completions in sampled for completion in completions]
        kl[: len(drawn_ids)] = divergences(model, reference_model, prompt_ids, drawn_ids, **how)
    return pd.DataFrame(
        {
            "kind": "reward",
            "task": reward.scorer,
            "category": [prompts[number].category for number, *_ in rows],
            "item_id": [prompts[number].item_id for number, *_ in rows],
            "cluster": [prompts[number].cluster for number, *_ in rows],
            "split": split,
            "decoder": [decoder for _, decoder, _, _ in rows],
            "sample": [sample for _, _, sample, _ in rows],
            "score": [float(score) for score in scores],
            "length": [float(completion.length) for *_, completion in rows],
            "kl": kl[:, 0],
            "kl_sampled": kl[:, 1],
            "completion": [completion.text for *_, completion in rows],
        }
    )
