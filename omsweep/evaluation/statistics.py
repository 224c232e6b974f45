"""Reward and tax of a policy against its SFT model, from the two tables of scores; numpy and pandas only.

With p = policy, r = SFT model (reference), s = score of an item, d = r's score of an item - p's:

    reward            = mean over prompts of (mean of p's drawn scores - mean of r's), the scorer's unit
    score of category = mean over its tasks of the mean over the task's items of s, in [0, 1]
    tax               = 100 x mean over categories of (r's score - p's score), points, positive = lost

Error bars here come from items and prompts only; they say nothing about training seeds. Items of one cluster (a
passage, a dialogue) count as one observation: with e = (d - mean of its task) / items of the task, the variance of the
mean is G/(G-1) x the sum over the task's G clusters of (sum of e)^2.
"""

import hashlib
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from omsweep.evaluation.cross_fitted import regressed, worst
from omsweep.evaluation.rewards.measures import distinct_n, refuses
from omsweep.evaluation.rewards.named_rewards import named_rewards

RIGHT_ABOVE = 0.5
"""An item counts as right when its score is above this."""

NOISE_GROUPS = 32
"""Groups of clusters that the error of a rung's scores is made of; from so many it is known to about an eighth."""

SINCE = ("first_shown", "judge_noise", "finished", "completion")
"""Columns that tables of earlier versions do not have."""

_ITEM = ["task", "item_id"]
_DECODERS = ("greedy", "sampled")


def reward_and_tax(policy: pd.DataFrame, reference: pd.DataFrame) -> dict[str, Any]:
    """The trial object's numbers from the policy's and the SFT model's tables of scores.

    Both tables hold the same tax items and the same prompts under the same decoders; their rows may be in
    any order.

    Returns:
        reward, reward_se_items (from the paired differences of prompts, by cluster), rewards {greedy, sampled}
        (paired differences of each decoder; by name those of every other reward, see `named_rewards`),
        reward_absolute (the policy's own mean of drawn scores), tax,
        tax_se_items (from paired item differences, stratified by task, by cluster), tax_regressed (mean over
        categories of max(0, r - p)) and tax_worst (largest r - p of a category; negative when every category
        gained), in points, both corrected for item noise and with their `_se_items` (see `cross_fitted`), flip_rate
        (share of all items right under r and wrong under p; above 0 by redrawn answers alone),
        benchmark_average (100 x mean over categories of p's scores), scores {category: p's score in [0, 1]}, kl
        and kl_sampled (nats per drawn completion, mean over prompts), length_ratio (mean drawn length over r's), and of
        p's drawn answers finished_rate, distinct_2 and refusal_rate (see `measures`). None
        stands for what the tables do not hold or cannot tell: an error bar of a single cluster, and the corrected
        taxes where one of their categories has no error bar.

    Raises:
        ValueError: the tables' items differ; up to five are named.
    """
    _check_same_items(policy, reference)
    policy, reference = (_with_columns(table) for table in (policy, reference))
    result = {**_reward_numbers(policy, reference), **_tax_numbers(policy, reference)}
    return {name: _plain(value) for name, value in result.items()}


def rung_noise(policy: pd.DataFrame, reference: pd.DataFrame) -> dict[str, list[float]]:
    """What groups of items add to the errors of reward and of tax, for comparing trials on the same items.

    The squares of a list add up to the variance of the mean; and where two policies were scored on the same items,
    those of the difference of their lists to the variance of the difference of their means. Clusters are dealt to
    `NOISE_GROUPS` groups in turn, in the order of a hash of their names: equal places hold equal items.

    Returns:
        `reward_noise`, scorer's unit, and `tax_noise`, points; to six digits, as a log keeps them.
    """
    noise = {
        "reward_noise": _reward_noise(policy, reference),
        "tax_noise": _tax_noise(_paired_items(policy, reference)),
    }
    return {name: [float(f"{one:.6g}") for one in _grouped(found)] for name, found in noise.items()}


def _grouped(noise: pd.Series) -> np.ndarray:
    dealt = sorted(noise.index, key=lambda cluster: hashlib.sha256(str(cluster).encode()).digest())
    return np.bincount(np.arange(len(noise)) % NOISE_GROUPS, weights=noise[dealt].to_numpy())


def _reward_noise(policy: pd.DataFrame, reference: pd.DataFrame) -> pd.Series:
    """What each cluster of prompts adds to the error of the reward."""
    drawn = _rows(policy, "reward", "sampled")
    clusters = drawn.groupby(_ITEM)["cluster"].first().reset_index(drop=True)
    return _cluster_noise(pd.Series(_prompt_gains(policy, reference, "sampled")), clusters)


def rewards_beside(policy: pd.DataFrame, reference: pd.DataFrame) -> dict[str, Any]:
    """Numbers of the rewards that two tables have beside the objective, see `named_rewards`; None: cannot be told."""
    numbers = named_rewards(_with_columns(policy), _with_columns(reference), _error_of_gains)
    return {name: _plain(value) for name, value in numbers.items()}


def _error_of_gains(gains: pd.Series, clusters: pd.Series) -> float:
    return _standard_error(_cluster_noise(gains, clusters).to_numpy())


def _cluster_noise(gains: pd.Series, clusters: pd.Series) -> pd.Series:
    """What each cluster adds to the error of the mean gain; prompts without one, which nobody judged, are left out."""
    clusters, gains = clusters[gains.notna()], gains[gains.notna()]
    noise = _noise(gains, [np.zeros(len(clusters))], clusters)
    cluster, names = pd.factorize(clusters)
    return pd.Series(np.bincount(cluster, weights=noise, minlength=len(names)), index=names)


def _tax_noise(items: pd.DataFrame) -> pd.Series:
    """What each cluster of items adds to the error of the tax, in points."""
    noise = _category_noise(items)
    return pd.Series(noise.sum(axis=1) / max(1, noise.shape[1]), index=pd.factorize(items["cluster"])[1])


def _reward_numbers(policy: pd.DataFrame, reference: pd.DataFrame) -> dict[str, Any]:
    gains = {decoder: _prompt_gains(policy, reference, decoder) for decoder in _DECODERS}
    drawn, drawn_reference = _rows(policy, "reward", "sampled"), _rows(reference, "reward", "sampled")
    return {
        "reward": _mean_known(gains["sampled"]),
        "reward_se_items": _standard_error(_reward_noise(policy, reference).to_numpy()),
        "rewards": {decoder: _mean_known(values) for decoder, values in gains.items()}
        | named_rewards(policy, reference, _error_of_gains),
        "reward_absolute": _mean_known(_scores_by_prompt(drawn)),
        "kl": _mean(_by_prompt(drawn, "kl")),
        "kl_sampled": _mean(_by_prompt(drawn, "kl_sampled")),
        "length_ratio": _ratio(_mean(_by_prompt(drawn, "length")), _mean(_by_prompt(drawn_reference, "length"))),
        "finished_rate": _mean(_by_prompt(drawn, "finished")),
        "distinct_2": distinct_n(drawn["completion"].dropna()),
        "refusal_rate": _mean(drawn["completion"].dropna().map(refuses).to_numpy(dtype=float)),
    }


def _tax_numbers(policy: pd.DataFrame, reference: pd.DataFrame) -> dict[str, Any]:
    items = _paired_items(policy, reference)
    losses = _category_losses(items).to_numpy()
    noise = _category_noise(items)
    errors = np.sqrt((noise**2).sum(axis=0))
    scores = _category_means(items, "policy")
    flipped = (items["reference"] > RIGHT_ABOVE) & (items["policy"] <= RIGHT_ABOVE)
    lost, lost_error = regressed(losses, errors) if len(losses) else (math.nan, math.nan)
    most, most_error = worst(losses, errors) if len(losses) else (math.nan, math.nan)
    return {
        "tax": _mean(losses),
        "tax_se_items": _standard_error(noise.sum(axis=1) / max(1, len(losses))),
        "tax_regressed": lost,
        "tax_regressed_se_items": lost_error,
        "tax_worst": most,
        "tax_worst_se_items": most_error,
        "flip_rate": _mean(flipped.to_numpy(dtype=float)),
        "benchmark_average": 100.0 * _mean(scores.to_numpy()),
        "scores": {str(category): float(score) for category, score in scores.items()},
    }


def _paired_items(policy: pd.DataFrame, reference: pd.DataFrame) -> pd.DataFrame:
    """One row per tax item: task, item_id, category, cluster, policy and reference score, in a fixed order."""
    rows = _rows(policy, "tax").groupby(_ITEM)
    ours = rows.agg(category=("category", "first"), cluster=("cluster", "first"), policy=("score", "mean"))
    theirs = _rows(reference, "tax").groupby(_ITEM).agg(reference=("score", "mean"))
    return ours.join(theirs).reset_index()


def _category_means(items: pd.DataFrame, column: str) -> pd.Series:
    return items.groupby(["category", "task"])[column].mean().groupby("category").mean()


def _category_losses(items: pd.DataFrame) -> pd.Series:
    return 100.0 * (_category_means(items, "reference") - _category_means(items, "policy"))


def _category_noise(items: pd.DataFrame) -> np.ndarray:
    """What each cluster (rows) adds to the error of each category's loss (columns, sorted), in points."""
    tasks = items.groupby("category")["task"].transform("nunique")
    differences = items["reference"] - items["policy"]
    added = 100.0 * _noise(differences, [items["category"], items["task"]], items["cluster"]) / tasks
    cluster, clusters = pd.factorize(items["cluster"])
    category, categories = pd.factorize(items["category"], sort=True)
    noise = np.zeros((len(clusters), len(categories)))
    np.add.at(noise, (cluster, category), added.to_numpy())
    return noise


def _noise(values: pd.Series, place: list[Any], clusters: pd.Series) -> pd.Series:
    """What each item adds to the error of the mean of its place (its task); NaN where one cluster is all there is.

    Summed within clusters, these are independent: their squares add up to the variance.
    """
    count = clusters.groupby(place).transform("nunique")
    grouped = values.groupby(place)
    added = (values - grouped.transform("mean")) / grouped.transform("size")
    return added * np.sqrt(count / (count - 1).where(count > 1))


def _prompt_gains(policy: pd.DataFrame, reference: pd.DataFrame, decoder: str) -> np.ndarray:
    ours = _scores_by_prompt(_rows(policy, "reward", decoder))
    return ours - _scores_by_prompt(_rows(reference, "reward", decoder))


def _scores_by_prompt(rows: pd.DataFrame) -> np.ndarray:
    """Mean over those of a prompt's completions that have a score, prompts as in `_by_prompt`; NaN: none has."""
    return rows.groupby(_ITEM)["score"].mean().to_numpy(dtype=float)


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


def _with_columns(table: pd.DataFrame) -> pd.DataFrame:
    """The table; one from before with what it lacks as not known."""
    return table.assign(**{name: np.nan for name in SINCE if name not in table})


def _mean(values: Sequence[float] | np.ndarray) -> float:
    return float(np.mean(values)) if len(values) else math.nan


def _mean_known(values: np.ndarray) -> float:
    return _mean(values[~np.isnan(values)])


def _standard_error(noise: np.ndarray) -> float:
    return float(np.sqrt((noise**2).sum())) if len(noise) else math.nan


def _ratio(above: float, below: float) -> float:
    return above / below if below else math.nan


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(entry) for name, entry in value.items()}
    return value if math.isfinite(value) else None
