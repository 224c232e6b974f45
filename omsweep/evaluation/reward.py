"""The reward of a policy: its completions of held-out prompts, judged by a scorer."""

import math
import warnings
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from omsweep.evaluation.backends.in_process import InProcess
from omsweep.evaluation.backends.interface import Backend, Completion
from omsweep.evaluation.generation import check_room, questions
from omsweep.evaluation.prompts import read_reward_prompts
from omsweep.evaluation.rewards.answers import answers, scored
from omsweep.evaluation.settings import RewardSettings, prompts_path, reward_from
from omsweep.evaluation.spread import Models, Spread, alone
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
    backend: Backend | None = None,
    baseline: pd.DataFrame | None = None,
    kind: str = "reward",
) -> pd.DataFrame:
    """Scores of `samples` drawn completions and the greedy one for every prompt of a split.

    Args:
        model: the policy; None with a `backend`.
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
        backend: who answers; None: `model` in this process.
        baseline: the SFT model's rows, for a judge that compares with them; None of the SFT model itself.
        kind: of the rows.

    Returns:
        One row per completion, in the columns of `score.COLUMNS`. `length` counts tokens without the end
        token. `kl` is KL(policy || SFT) over the vocabulary and `kl_sampled` is log policy - log SFT, both summed
        over the tokens of a drawn completion (nats; NaN for the greedy one).

    Raises:
        ValueError: unknown names, an empty split, a prompt that the template cannot ask, or what `generate` raises.
    """
    reward = reward_from(scorer)
    prompts = read_reward_prompts(prompts_path(reward.prompts), split=split, limit=limit)
    if getattr(tokenizer, "chat_template", None):  # else `generate` says so
        called = ((f"reward prompt {prompt.item_id}", prompt.messages) for prompt in prompts)
        check_prompts(template_of(tokenizer), called, tokenizer.name_or_path or "the tokenizer")
    if backend is None:
        decoding = decoding or resolved_decoding(tokenizer, model.generation_config)
        if reference_model is not None:
            _warn_of_kl(temperature, decoding.repetition_penalty)
        models = Models(model, tokenizer, reference_model)
        backend = InProcess(models=models, decoding=decoding, batch_size=batch_size, spread=spread)
    asked = partial(_asked, backend, tokenizer, max_new_tokens, seed)
    given = answers(asked, prompts, samples=samples, temperature=temperature)
    kl = np.full((len(given), 2), math.nan)
    drawn = [number for number, one in enumerate(given) if one.decoder == "sampled"]
    chats = {id(given[number].chat): given[number].chat for number in drawn}
    read = dict(zip(chats, questions(tokenizer, list(chats.values()), samples=1, seed=seed), strict=True))
    kl[drawn] = backend.divergences(
        [(read[id(given[number].chat)].token_ids, given[number].completion.token_ids) for number in drawn]
    )
    rows = pd.DataFrame(
        {
            "kind": kind,
            "task": reward.called,
            "category": [one.prompt.category for one in given],
            "item_id": [one.item_id for one in given],
            "cluster": [one.prompt.cluster for one in given],
            "split": split,
            "decoder": [one.decoder for one in given],
            "sample": [one.sample for one in given],
            "length": [float(one.completion.length) for one in given],
            "finished": [float(one.completion.finished) for one in given],
            "kl": kl[:, 0],
            "kl_sampled": kl[:, 1],
            "completion": [one.completion.text for one in given],
        }
    )
    return scored(rows, reward, baseline=baseline, spread=spread)


def _asked(
    backend: Backend, tokenizer: Any, longest: int, seed: int, chats: Sequence[Any], times: int, temperature: float
) -> list[list[Completion]]:
    """So many answers to each chat, drawn with `seed`."""
    asked = questions(tokenizer, chats, samples=times, seed=seed)
    check_room(asked[::times], longest, backend.context)
    said = backend.answers(asked, longest=longest, temperature=temperature)
    return [said[first : first + times] for first in range(0, len(said), times)]


def _warn_of_kl(temperature: float, penalty: float) -> None:
    if temperature != 1:
        warnings.warn(f"kl is that of temperature 1, but samples are drawn at {temperature}", stacklevel=3)
    if penalty != 1:
        warnings.warn(
            f"kl is that without a penalty, but samples are drawn with repetition_penalty {penalty}", stacklevel=3
        )
