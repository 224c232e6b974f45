"""Reward, tax and KL of a policy from its table of scores, over all items and without each of some groups."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Floats = NDArray[np.float64]

TAX_ITEM = ("category", "task", "item_id")
PROMPT = ("task", "item_id")
_BETWEEN = "\x1f"


@dataclass(frozen=True)
class ItemTable:
    """The SFT model's scores on a split, and the weights with which items make up a reading.

    Args:
        tax: mean score by item, the columns `TAX_ITEM` joined, in the order of these columns.
        reward: mean drawn score by prompt, the columns `PROMPT` joined, likewise.
        tax_weights: [1 + G, items], each row summing to 1: all items first, then without each group.
        reward_weights: [1 + G, prompts], likewise.
    """

    tax: pd.Series
    reward: pd.Series
    tax_weights: Floats
    reward_weights: Floats


def item_table(reference: pd.DataFrame, split: str, groups: int) -> ItemTable:
    """Items of a split in the order of their ids, dealt to groups in turn within each task, a cluster to one group.

    Categories weigh alike, tasks alike in their category, items alike in their task, also without a group.
    """
    tax_rows, drawn = _tax_rows(reference, split), _drawn_rows(reference, split)
    items, prompts = _items(tax_rows, TAX_ITEM), _items(drawn, PROMPT)
    in_task = items.groupby(["category", "task"])["cluster"]
    sizes = [*in_task.nunique(), *([prompts["cluster"].nunique()] if len(prompts) else [])]
    count = int(min([groups, *sizes]))
    count = count if count > 1 else 0
    tax_group = _dealt(items, ["category", "task"]) % max(count, 1)
    reward_group = _dealt(prompts, ["task"]) % max(count, 1)
    tax_index, reward_index = _joined(items, TAX_ITEM), _joined(prompts, PROMPT)
    return ItemTable(
        tax=pd.Series(_means(tax_rows, "score", _places(tax_rows, TAX_ITEM, tax_index, split)), index=tax_index),
        reward=pd.Series(_means(drawn, "score", _places(drawn, PROMPT, reward_index, split)), index=reward_index),
        tax_weights=np.array([_tax_weights(items, tax_group != g) for g in range(-1, count)]),
        reward_weights=np.array([(reward_group != g) / max(1, (reward_group != g).sum()) for g in range(-1, count)]),
    )


def item_readings(policy: pd.DataFrame, table: ItemTable, split: str) -> Floats:
    """Reward, tax and KL of a policy over all items and without each group, [1 + G, 3]; NaN where nothing was scored.

    The first row agrees with `omsweep.evaluation.compare`.

    Raises:
        ValueError: the policy was scored on other items.
    """
    tax_rows, drawn = _tax_rows(policy, split), _drawn_rows(policy, split)
    tax_places = _places(tax_rows, TAX_ITEM, table.tax.index, split)
    reward_places = _places(drawn, PROMPT, table.reward.index, split)
    loss = 100.0 * (table.tax.to_numpy() - _means(tax_rows, "score", tax_places))
    gain = _means(drawn, "score", reward_places) - table.reward.to_numpy()
    kl = _means(drawn, "kl", reward_places)
    columns = [table.reward_weights @ gain, table.tax_weights @ loss, table.reward_weights @ kl]
    empty = [len(gain) == 0, len(loss) == 0, len(kl) == 0]
    return np.stack([np.full_like(c, np.nan) if none else c for c, none in zip(columns, empty, strict=True)], axis=1)


def _items(rows: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """The different items of the rows, in order; each its own cluster in tables from before there were any."""
    found = rows.drop_duplicates(list(columns)).sort_values(list(columns), ignore_index=True)
    return found[list(columns)].assign(cluster=found["cluster"] if "cluster" in found else _joined(found, columns))


def _dealt(items: pd.DataFrame, within: list[str]) -> NDArray[np.intp]:
    """Number of each item's cluster, counted from 0 in the first place (`within`) that has it, [items]."""
    clusters = items.drop_duplicates("cluster")
    number = pd.Series(clusters.groupby(within).cumcount().to_numpy(), index=clusters["cluster"])
    return items["cluster"].map(number).to_numpy(dtype=np.intp)


def _tax_weights(items: pd.DataFrame, kept: NDArray[np.bool_]) -> Floats:
    in_task = pd.Series(kept.astype(float)).groupby([items["category"], items["task"]]).transform("sum")
    tasks = (
        items["category"].map(items[["category", "task"]].drop_duplicates()["category"].value_counts()).astype(float)
    )
    weights: Floats = (kept / (in_task * tasks * items["category"].nunique())).to_numpy(dtype=np.float64)
    return weights


def _tax_rows(scores: pd.DataFrame, split: str) -> pd.DataFrame:
    return scores[(scores["kind"] == "tax") & (scores["split"] == split)]


def _drawn_rows(scores: pd.DataFrame, split: str) -> pd.DataFrame:
    return scores[(scores["kind"] == "reward") & (scores["decoder"] == "sampled") & (scores["split"] == split)]


def _joined(rows: pd.DataFrame, columns: Sequence[str]) -> pd.Index:
    """The columns as one text for each row: many times faster to look up than a MultiIndex."""
    first, *others = (rows[name].to_numpy(dtype=object) for name in columns)
    for other in others:
        first = first + _BETWEEN + other
    return pd.Index(first, dtype=object)


def _places(rows: pd.DataFrame, columns: Sequence[str], index: pd.Index, split: str) -> NDArray[np.intp]:
    """Place of each row's item in `index`; ValueError unless rows and index hold the same items."""
    keys = _joined(rows, columns)
    places = index.get_indexer(keys)
    if (places < 0).any() or len(np.unique(places)) < len(index):
        differing = [tuple(key.split(_BETWEEN)) for key in index.symmetric_difference(keys.unique())]
        raise ValueError(f"{len(differing)} items of split {split} are in one table only, such as {differing[:5]}")
    return places


def _means(rows: pd.DataFrame, column: str, places: NDArray[np.intp]) -> Floats:
    """Mean of a column over the rows of each place; NaN where one of its values is NaN."""
    values = rows[column].to_numpy(dtype=np.float64)
    means: Floats = np.bincount(places, weights=values) / np.bincount(places)
    return means
