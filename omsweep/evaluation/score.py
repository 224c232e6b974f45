"""Everything that is measured on a policy, in one table; and the SFT model's table, made once and cached."""

from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd

from omsweep.cache import build_once, recipe_hash
from omsweep.evaluation.reward import score_reward
from omsweep.evaluation.reward_models import REWARD_MODELS, reward_recipe
from omsweep.evaluation.settings import EvaluateSettings, RewardSettings, prompts_path, suite_folder
from omsweep.evaluation.spread import Spread, alone
from omsweep.evaluation.suite_files import content_hash, folder_files
from omsweep.evaluation.tax import score_tax
from omsweep.families.decoding import Decoding, resolved_decoding
from omsweep.families.load import find
from omsweep.foreign import calling

COLUMNS = (
    "kind",
    "task",
    "category",
    "item_id",
    "cluster",
    "split",
    "decoder",
    "sample",
    "score",
    "length",
    "kl",
    "kl_sampled",
    "completion",
)
"""kind: tax, reward; cluster: of items that belong together, else the item's id; decoder: greedy, sampled;
length: tokens; kl, kl_sampled: nats per completion; NaN: not known."""

_SCORES_FILE, _HASH_FILE = "scores.parquet", "sha256"
_SCORING_VERSION = 2  # raise it whenever the same settings would give other scores than before


def score_policy(
    model: Any,
    tokenizer: Any,
    *,
    settings: EvaluateSettings,
    split: str,
    seed: int,
    reference_model: Any = None,
    decoding: Decoding | None = None,
    spread: Spread = alone,
) -> pd.DataFrame:
    """Tax items and reward completions of a policy, one row each, columns `COLUMNS`.

    Args:
        model: the policy, a causal model of transformers; weights, mode and random states are left as they
            were.
        tokenizer: its tokenizer, with a chat template.
        settings: what to measure.
        split: `search` or `report`.
        seed: of the drawn completions. Give policy and SFT model the same one, so that they are paired.
        reference_model: SFT model for `kl`; without it `kl` is NaN.
        decoding: of both; None: that of tokenizer and model.
        spread: who computes the batches.

    Raises:
        ValueError: see `score_tax` and `score_reward`.
    """
    decoding = decoding or resolved_decoding(tokenizer, model.generation_config)
    tax = score_tax(
        model,
        tokenizer,
        suite=settings.tax,
        split=split,
        limit=settings.limit,
        batch_size=settings.batch_size,
        decoding=decoding,
        spread=spread,
    )
    reward = score_reward(
        model,
        tokenizer,
        scorer=settings.reward,
        split=split,
        samples=settings.samples,
        temperature=settings.temperature,
        max_new_tokens=settings.max_new_tokens,
        seed=seed,
        batch_size=settings.batch_size,
        limit=settings.limit,
        reference_model=reference_model,
        decoding=decoding,
        spread=spread,
    )
    return pd.concat([tax, reward], ignore_index=True)[list(COLUMNS)]


def reference_scores(
    family_key: str,
    make_model: Callable[[], tuple[Any, Any]],
    settings: EvaluateSettings,
    split: str,
    seed: int,
    *,
    decoding: Decoding | None = None,
    root: Path | None = None,
) -> pd.DataFrame:
    """The SFT model's `score_policy`, made once for all trials and processes that share a cache.

    Args:
        family_key: names weights, dtype, chat template and decoding of the SFT model; another key is another model.
        make_model: returns model and tokenizer; called only when the scores are not there yet.
        settings: what to measure.
        split: `search` or `report`.
        seed: of the drawn completions.
        decoding: see `score_policy`.
        root: cache folder, default `cache_root()`.
    """
    recipe = {
        "family": family_key,
        "suite": content_hash(suite_folder(settings.tax)),
        "prompts": content_hash(prompts_path(settings.reward.prompts)),
        "scorer": _scorer_recipe(settings.reward, root),
        "samples": settings.samples,
        "temperature": settings.temperature,
        "max_new_tokens": settings.max_new_tokens,
        "batch_size": settings.batch_size,
        "limit": settings.limit,
        "split": split,
        "seed": seed,
        "versions": {name: version(name) for name in ("lm_eval", "torch", "transformers")},
        "scoring": _SCORING_VERSION,
    }

    def build(folder: Path) -> None:
        model, tokenizer = make_model()
        scores = score_policy(model, tokenizer, settings=settings, split=split, seed=seed, decoding=decoding)
        scores.to_parquet(folder / _SCORES_FILE, index=False)

    table = build_once("reference_scores", recipe, build, root=root) / _SCORES_FILE
    with calling(f"read the table {table}"):
        return pd.read_parquet(table)


def _scorer_recipe(reward: RewardSettings, root: Path | None) -> dict[str, Any]:
    recipe: dict[str, Any] = {"scorer": reward.scorer, "model": reward.model, "revision": reward.revision}
    recipe["dtype"] = reward.dtype
    if reward.model is None:
        return recipe
    if reward.model in REWARD_MODELS:
        return recipe | {"trained": recipe_hash(reward_recipe(REWARD_MODELS[reward.model]))}
    folder, commit = find(reward.model, revision=reward.revision)
    return recipe | ({"commit": commit} if commit else {"content": _content_of(Path(folder), root)})


def _content_of(folder: Path, root: Path | None) -> str:
    """The hash of a model's files, which are read again once one of them has another inode, size or time of change."""
    found = [(file, file.stat()) for file in folder_files(folder)]
    state = [[str(file), one.st_size, one.st_mtime_ns, one.st_ctime_ns, one.st_ino] for file, one in found]

    def build(target: Path) -> None:
        (target / _HASH_FILE).write_text(content_hash(folder))

    return (build_once("model_hashes", {"files": state}, build, root=root) / _HASH_FILE).read_text()
