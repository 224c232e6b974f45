"""Reward and tax of a policy against its SFT model, from the two tables of scores; numpy and pandas only.

With p = policy, r = SFT model (reference), s = score of an item, d = r's score of an item - p's:

    reward            = mean over prompts of (mean of p's drawn scores - mean of r's), the scorer's unit
    score of category = mean over its tasks of the mean over the task's items of s, in [0, 1]
    tax               = 100 x mean over categories of (r's score - p's score), points, positive = lost

Error bars here come from items and prompts only; they say nothing about training seeds.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

RIGHT_ABOVE = 0.5
"""An item counts as right when its score is above this."""

_ITEM = ["task", "item_id"]
_DECODERS = ("greedy", "sampled")


def reward_and_tax(policy: pd.DataFrame, reference: pd.DataFrame) -> dict[str, Any]:
    """The trial object's numbers from the policy's and the SFT model's tables of scores.

    Both tables hold the same tax items and the same prompts under the same decoders; their rows may be in
    any order.

    Returns:
        reward, reward_se_items (sd over prompts of the paired differences / sqrt(prompts)), rewards
        {greedy, sampled} (paired differences of each decoder), reward_absolute (the policy's own mean of
        drawn scores), tax, tax_se_items (from paired item differences, stratified by task), tax_regressed
        (mean over categories of max(0, r - p)), tax_worst (largest r - p of a category; negative when every
        category gained) in points, flip_rate (share of all items right under r and wrong under p),
        benchmark_average (100 x mean over categories of p's scores), scores {category: p's score in [0,
        1]}, kl and kl_sampled (nats per drawn completion, mean over prompts), length_ratio (mean drawn length
        over r's).
        None stands for what the tables do not hold or cannot tell (a standard error of one item).

    Raises:
        ValueError: the tables' items differ; up to five are named.
    """
    _check_same_items(policy, reference)
    result = {**_reward_numbers(policy, reference), **_tax_numbers(policy, reference)}
    return {name: _plain(value) for name, value in result.items()}


def _reward_numbers(policy: pd.DataFrame, reference: pd.DataFrame) -> dict[str, Any]:
    gains = {decoder: _prompt_gains(policy, reference, decoder) for decoder in _DECODERS}
    drawn, drawn_reference = _rows(policy, "reward", "sampled"), _rows(reference, "reward", "sampled")
    return {
        "reward": _mean(gains["sampled"]),
        "reward_se_items": _standard_error(gains["sampled"]),
        "rewards": {decoder: _mean(values) for decoder, values in gains.items()},
        "reward_absolute": _mean(_by_prompt(drawn, "score")),
        "kl": _mean(_by_prompt(drawn, "kl")),
        "kl_sampled": _mean(_by_prompt(drawn, "kl_sampled")),
        "length_ratio": _ratio(_mean(_by_prompt(drawn, "length")), _mean(_by_prompt(drawn_reference, "length"))),
    }


def _tax_numbers(policy: pd.DataFrame, reference: pd.DataFrame) -> dict[str, Any]:
    items = _paired_items(policy, reference)
    losses = _category_losses(items).to_numpy()
    scores = _category_means(items, "policy")
    flipped = (items["reference"] > RIGHT_ABOVE) & (items["policy"] <= RIGHT_ABOVE)
    return {
        "tax": _mean(losses),
        "tax_se_items": _tax_standard_error(items),
        "tax_regressed": _mean(np.maximum(losses, 0.0)),
        "tax_worst": float(losses.max()) if len(losses) else math.nan,
        "flip_rate": _mean(flipped.to_numpy(dtype=float)),
        "benchmark_average": 100.0 * _mean(scores.to_numpy()),
        "scores": {str(category): float(score) for category, score in scores.items()},
    }


def _paired_items(policy: pd.DataFrame, reference: pd.DataFrame) -> pd.DataFrame:
    """One row per tax item: task, item_id, category, policy and reference score, in a fixed order."""
    ours = _rows(policy, "tax").groupby(_ITEM).agg(category=("category", "first"), policy=("score", "mean"))
    theirs = _rows(reference, "tax").groupby(_ITEM).agg(reference=("score", "mean"))
    return ours.join(theirs).reset_index()


def _category_means(items: pd.DataFrame, column: str) -> pd.Series:
    return items.groupby(["category", "task"])[column].mean().groupby("category").mean()


def _category_losses(items: pd.DataFrame) -> pd.Series:
    return 100.0 * (_category_means(items, "reference") - _category_means(items, "policy"))


def _tax_standard_error(items: pd.DataFrame) -> float:
    """100 x sqrt(sum over tasks of w^2 var(d) / n), with w = 1 / (categories x tasks of its category)."""
    if items.empty:
        return math.nan
    differences = (items["reference"] - items["policy"]).groupby([items["category"], items["task"]])
    spread, count = differences.var(ddof=1), differences.size()
    tasks = spread.groupby("category").transform("size")
    weight = 1.0 / (tasks * spread.index.get_level_values("category").nunique())
    return 100.0 * math.sqrt(float((weight**2 * spread / count).sum(skipna=False)))


def _prompt_gains(policy: pd.DataFrame, reference: pd.DataFrame, decoder: str) -> np.ndarray:
    ours = _by_prompt(_rows(policy, "reward", decoder), "score")
    return ours - _by_prompt(_rows(reference, "reward", decoder), "score")


def _by_prompt(rows: pd.DataFrame, column: str) -> np.ndarray:
    """Mean over a prompt's completions, prompts in the order of their ids; NaN where one of them is NaN."""
    prompt = rows.groupby(_ITEM).ngroup().to_numpy(dtype=np.int64)
    return np.bincount(prompt, weights=rows[column].to_numpy(dtype=float)) / np.bincount(prompt)


def _rows(scores: pd.DataFrame, kind: str, decoder: str | None = None) -> pd.DataFrame:
    chosen = scores["kind"] == kind
    return scores[chosen if decoder is None else chosen & (scores["decoder"] == decoder)]


def _check_same_items(policy: pd.DataFrame, reference: pd.DataFrame) -> None:
    keys = ["kind", "task", "category", "item_id", "split", "decoder"]
    ours, theirs = (set(map(tuple, frame[keys].to_numpy())) for frame in (policy, reference))
    for name, missing in (("the reference", ours - theirs), ("the policy", theirs - ours)):
        if missing:
            listed = ["/".join(map(str, key)) for key in sorted(missing)[:5]]
            raise ValueError(f"{len(missing)} items are missing from {name}'s scores, for example {listed}")


def _mean(values: Sequence[float] | np.ndarray) -> float:
    return float(np.mean(values)) if len(values) else math.nan


def _standard_error(values: np.ndarray) -> float:
    return float(np.std(values, ddof=1) / math.sqrt(len(values))) if len(values) > 1 else math.nan


def _ratio(above: float, below: float) -> float:
    return above / below if below else math.nan


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(entry) for name, entry in value.items()}
    return value if math.isfinite(value) else None
