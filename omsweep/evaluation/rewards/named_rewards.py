"""The numbers of every reward that has a name, from the tables of a policy and its SFT model; numpy and pandas only.

By name k of a reward: `k` its gain, the mean over prompts of policy minus SFT model, and `k_se_items` its standard
error over clusters of prompts, the judge's own noise included. Of a judge also `k_judge_se` (the part of that error
which is the judge's, from repeats), `k_first_shown` (points by which it likes better what it is shown first; both
orders cancel it), and of one that compares with the SFT model, `k_length_controlled` and `k_length_controlled_se`
(points above the SFT model at equal length). Units are the scorers'.
"""

import math
from collections.abc import Callable

import numpy as np
import pandas as pd

from omsweep.evaluation.judges.both_orders import place_liking
from omsweep.evaluation.judges.length_control import length_controlled
from omsweep.evaluation.rewards.answers import BESIDE, PLACE

Noise = Callable[[pd.Series, pd.Series], float]
"""The standard error of the mean of values by cluster."""
EVEN = 50.0
"""Points that equal answers have."""


def named_rewards(policy: pd.DataFrame, reference: pd.DataFrame, standard_error: Noise) -> dict[str, float]:
    """See above; the objective's own gain and error are not among them, only what a judge says beside."""
    found: dict[str, float] = {}
    for kind, name in _named(policy):
        ours, theirs = (_rows(table, kind, name) for table in (policy, reference))
        if kind == BESIDE:
            gains = (_by_prompt(ours) - _by_prompt(theirs)).dropna()
            clusters = ours.groupby("item_id")["cluster"].first().reindex(gains.index)
            found[name] = float(gains.mean()) if len(gains) else math.nan
            found[f"{name}_se_items"] = standard_error(gains, clusters)
        if ours["judge_noise"].notna().any() or ours["first_shown"].notna().any():
            found |= {f"{name}_{key}": value for key, value in _of_judge(ours, theirs).items()}
    return found


def _of_judge(ours: pd.DataFrame, theirs: pd.DataFrame) -> dict[str, float]:
    found = {"judge_se": _judge_error(ours, theirs), "first_shown": place_liking(ours["first_shown"].to_numpy(float))}
    against_sft = theirs["score"].dropna().eq(EVEN).all() and theirs["first_shown"].isna().all()
    both = ours.merge(theirs[[*PLACE, "completion"]], on=PLACE, suffixes=("", "_theirs")).dropna(subset=["score"])
    if ours["first_shown"].notna().any() and against_sft and len(both):
        rate = length_controlled(
            both["score"].to_numpy(float) / 100.0,
            both["completion"].str.len().to_numpy(float),
            both["completion_theirs"].str.len().to_numpy(float),
            pd.factorize(both["cluster"])[0].astype(np.int64),
        )
        found |= {"length_controlled": rate.rate - EVEN, "length_controlled_se": rate.standard_error}
    return found


def _judge_error(ours: pd.DataFrame, theirs: pd.DataFrame) -> float:
    """The standard error of the mean over prompts by the judge alone."""
    squares = 0.0
    for table in (ours, theirs):
        judged = table.dropna(subset=["score"])
        by_prompt = judged.groupby("item_id")["judge_noise"]
        variance = by_prompt.sum(min_count=1) / by_prompt.size() ** 2
        if not len(variance) or variance.isna().any():
            return math.nan
        squares += float(variance.sum()) / len(variance) ** 2
    return math.sqrt(squares)


def _named(table: pd.DataFrame) -> list[tuple[str, str]]:
    rows = table[table["kind"].isin(["reward", BESIDE])]
    return list(dict.fromkeys(zip(rows["kind"], rows["task"], strict=True)))


def _rows(table: pd.DataFrame, kind: str, name: str) -> pd.DataFrame:
    return table[(table["kind"] == kind) & (table["task"] == name) & (table["decoder"] == "sampled")]


def _by_prompt(rows: pd.DataFrame) -> pd.Series:
    return rows.groupby("item_id")["score"].mean()
