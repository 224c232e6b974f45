"""Everything that is measured on a policy, in one table; and the SFT model's table, made once and cached."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd

from omsweep.cache import build_once, recipe_hash
from omsweep.evaluation.backends.interface import Backend
from omsweep.evaluation.judges.settings import SAYS, SFT
from omsweep.evaluation.reward import score_reward
from omsweep.evaluation.rewards.answers import BESIDE, scored
from omsweep.evaluation.rewards.implicit_accuracy import score_pairs
from omsweep.evaluation.rewards.reward_models import REWARD_MODELS, reward_recipe
from omsweep.evaluation.scorers.own import own_source
from omsweep.evaluation.settings import IMPLICIT, EvaluateSettings, RewardSettings, prompts_path
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
    "first_shown",
    "judge_noise",
    "length",
    "finished",
    "kl",
    "kl_sampled",
    "completion",
)
"""kind: tax, reward, beside (a reward that selects nothing, `task` its name); cluster: of items that belong together,
else the item's id; decoder: greedy, sampled; first_shown: points by which a judge liked an answer better where it was
shown first; judge_noise: variance of the score by the judge alone; length: tokens; finished: 1 where an answer ended by
itself; kl, kl_sampled: nats per completion; NaN: not known."""

_SCORES_FILE, _HASH_FILE = "scores.parquet", "sha256"
_SCORING_VERSION = 4  # raise it whenever the same settings would give other scores than before


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
    backend: Backend | None = None,
    baseline: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Tax items and reward completions of a policy, one row each, columns `COLUMNS`.

    Args:
        model: the policy, a causal model of transformers; weights, mode and random states are left as they
            were. None with a `backend`.
        tokenizer: its tokenizer, with a chat template.
        settings: what to measure.
        split: `search` or `report`.
        seed: of the drawn completions. Give policy and SFT model the same one, so that they are paired.
        reference_model: SFT model for `kl`; without it `kl` is NaN.
        decoding: of both; None: that of tokenizer and model.
        spread: who computes the batches.
        backend: who answers; None: `model` in this process.
        baseline: the SFT model's table, for judges that compare with it; None of the SFT model itself.

    Raises:
        ValueError: see `score_tax` and `score_reward`.
    """
    if backend is None:
        decoding = decoding or resolved_decoding(tokenizer, model.generation_config)
    tax = score_tax(
        model,
        tokenizer,
        suite=settings.suite,
        split=split,
        limit=settings.limit,
        batch_size=settings.batch_size,
        decoding=decoding,
        spread=spread,
        backend=backend,
    )
    how: dict[str, Any] = {
        "split": split,
        "samples": settings.samples,
        "temperature": settings.temperature,
        "max_new_tokens": settings.max_new_tokens,
        "seed": seed,
        "batch_size": settings.batch_size,
        "limit": settings.limit,
        "decoding": decoding,
        "spread": spread,
        "backend": backend,
    }
    own = _rows(baseline, "reward")
    reward = score_reward(
        model, tokenizer, scorer=settings.reward, reference_model=reference_model, baseline=own, **how
    )
    beside = []
    for name, one in settings.rewards.items():
        theirs = _rows(baseline, BESIDE, name)
        if one.scorer == IMPLICIT:
            sized = {name: how[name] for name in ("split", "limit", "decoding", "batch_size", "spread")}
            beside.append(score_pairs(model, tokenizer, reward=one, reference_model=reference_model, **sized))
        elif prompts_path(one.prompts) == prompts_path(settings.reward.prompts):
            beside.append(scored(reward.assign(kind=BESIDE), one, baseline=theirs, spread=spread))
        else:
            beside.append(score_reward(model, tokenizer, scorer=one, kind=BESIDE, baseline=theirs, **how))
    return pd.concat([tax, reward, *beside], ignore_index=True).reindex(columns=list(COLUMNS))


def _rows(table: pd.DataFrame | None, kind: str, task: str | None = None) -> pd.DataFrame | None:
    if table is None:
        return None
    chosen = table["kind"] == kind
    return table[chosen if task is None else chosen & (table["task"] == task)]


def reference_scores(
    family_key: str,
    make_model: Callable[[], tuple[Any, Any]],
    settings: EvaluateSettings,
    split: str,
    seed: int,
    *,
    decoding: Decoding | None = None,
    root: Path | None = None,
    backend: AbstractContextManager[Backend | None] | None = None,
) -> pd.DataFrame:
    """The SFT model's `score_policy`, made once for all trials and processes that share a cache.

    Args:
        family_key: names weights, dtype, chat template and decoding of the SFT model; another key is another model.
        make_model: returns model, None with a `backend`, and tokenizer; called only when the scores are not there yet.
        settings: what to measure.
        split: `search` or `report`.
        seed: of the drawn completions.
        decoding: see `score_policy`.
        root: cache folder, default `cache_root()`.
        backend: entered for who answers, only when the scores are not there yet; None: the model in this process.
    """
    recipe = {
        "family": family_key,
        "suite": settings.suite.key(),
        "prompts": content_hash(prompts_path(settings.reward.prompts)),
        "scorer": _scorer_recipe(settings.reward, root),
        "beside": {
            name: [content_hash(prompts_path(one.prompts)), _scorer_recipe(one, root)]
            for name, one in settings.rewards.items()
        },
        "samples": settings.samples,
        "temperature": settings.temperature,
        "max_new_tokens": settings.max_new_tokens,
        "batch_size": settings.batch_size,
        "limit": settings.limit,
        "split": split,
        "seed": seed,
        "versions": {name: version(name) for name in ("lm_eval", "torch", "transformers")},
        "scoring": _SCORING_VERSION,
        **settings.backend.recipe(),
    }

    def build(folder: Path) -> None:
        model, tokenizer = make_model()
        with backend or nullcontext() as answering:
            scores = score_policy(
                model, tokenizer, settings=settings, split=split, seed=seed, decoding=decoding, backend=answering
            )
        scores.to_parquet(folder / _SCORES_FILE, index=False)

    table = build_once("reference_scores", recipe, build, root=root) / _SCORES_FILE
    with calling(f"read the table {table}"):
        return pd.read_parquet(table)


def _scorer_recipe(reward: RewardSettings, root: Path | None) -> dict[str, Any]:
    recipe: dict[str, Any] = {"scorer": reward.scorer, "model": reward.model, "revision": reward.revision}
    recipe |= {"dtype": reward.dtype, "name": reward.called, "pattern": reward.pattern}
    if reward.is_code:
        recipe["source"] = own_source(reward.scorer)
    if reward.judge is not None:
        files = [reward.judge.template_file, *([] if reward.judge.against == SFT else [Path(reward.judge.against)])]
        recipe["judge"] = {name: getattr(reward.judge, name) for name in SAYS} | {
            "files": [content_hash(file.expanduser()) for file in files]
        }
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
