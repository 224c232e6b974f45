"""Reward, tax and KL of a policy from its table of scores, over all items and without each of some groups."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class ItemTable:
    """The SFT model's scores on a split, and the weights with which items make up a reading.

    Args:
        tax: mean score by (category, task, item_id).
        reward: mean drawn score by (task, item_id).
        tax_weights: [1 + G, items], each row summing to 1: all items first, then without each group.
        reward_weights: [1 + G, prompts], likewise.
    """

    tax: pd.Series
    reward: pd.Series
    tax_weights: Floats
    reward_weights: Floats


def item_table(reference: pd.DataFrame, split: str, groups: int) -> ItemTable:
    """Items of a split in the order of their ids, dealt to groups in turn within each task.

    Categories weigh alike, tasks alike in their category, items alike in their task, also without a group.
    """
    tax, reward = _tax_scores(reference, split), _drawn(reference, split, "score")
    sizes = [*tax.groupby(level=["category", "task"]).size(), *([len(reward)] if len(reward) else [])]
    count = int(min([groups, *sizes]))
    count = count if count > 1 else 0
    tax_group = tax.groupby(level=["category", "task"]).cumcount().to_numpy() % max(count, 1)
    reward_group = np.arange(len(reward)) % max(count, 1)
    return ItemTable(
        tax=tax,
        reward=reward,
        tax_weights=np.array([_tax_weights(tax.index, tax_group != g) for g in range(-1, count)]),
        reward_weights=np.array([(reward_group != g) / max(1, (reward_group != g).sum()) for g in range(-1, count)]),
    )


def item_readings(policy: pd.DataFrame, table: ItemTable, split: str) -> Floats:
    """Reward, tax and KL of a policy over all items and without each group, [1 + G, 3]; NaN where nothing was scored.

    The first row agrees with `omsweep.evaluation.compare`.

    Raises:
        ValueError: the policy was scored on other items.
    """
    tax, reward = _tax_scores(policy, split), _drawn(policy, split, "score")
    for ours, theirs in ((tax, table.tax), (reward, table.reward)):
        if not ours.index.equals(theirs.index):
            differing = ours.index.symmetric_difference(theirs.index)
            raise ValueError(
                f"{len(differing)} items of split {split} are in one table only, such as {list(differing[:5])}"
            )
    loss = 100.0 * (table.tax - tax).to_numpy()
    gain = (reward - table.reward).to_numpy()
    kl = _drawn(policy, split, "kl").to_numpy()
    columns = [table.reward_weights @ gain, table.tax_weights @ loss, table.reward_weights @ kl]
    empty = [len(gain) == 0, len(loss) == 0, len(kl) == 0]
    return np.stack([np.full_like(c, np.nan) if none else c for c, none in zip(columns, empty, strict=True)], axis=1)


def _tax_weights(index: pd.Index, kept: NDArray[np.bool_]) -> Floats:
    frame = index.to_frame(index=False)[["category", "task"]]
    items = pd.Series(kept.astype(float)).groupby([frame["category"], frame["task"]]).transform("sum")
    tasks = frame["category"].map(frame.drop_duplicates()["category"].value_counts())
    weights: Floats = (kept / (items * tasks * frame["category"].nunique())).to_numpy(dtype=np.float64)
    return weights


def _tax_scores(scores: pd.DataFrame, split: str) -> pd.Series:
    rows = scores[(scores["kind"] == "tax") & (scores["split"] == split)]
    return _means(rows.groupby(["category", "task", "item_id"])["score"])


def _drawn(scores: pd.DataFrame, split: str, column: str) -> pd.Series:
    rows = scores[(scores["kind"] == "reward") & (scores["decoder"] == "sampled") & (scores["split"] == split)]
    return _means(rows.groupby(["task", "item_id"])[column])


def _means(grouped: "pd.core.groupby.SeriesGroupBy") -> pd.Series:
    """Mean of each group in the order of its key; NaN where one of its values is NaN."""
    return grouped.mean().where(grouped.count() == grouped.size()).sort_index()
