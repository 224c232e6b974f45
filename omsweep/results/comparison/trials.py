"""From trial records and tables of scores to `Points`.

A table of scores is what `omsweep.evaluation.score.score_policy` returns, with rows of both splits.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from omsweep.results.comparison.items import ItemTable, item_readings, item_table
from omsweep.results.comparison.measures import REWARD, TAX
from omsweep.results.comparison.points import Block, Floats, Points
from omsweep.results.comparison.question import OfflineGrid
from omsweep.results.front import SCORED_STATES, label_of
from omsweep.store.records import TrialRecord

GROUPS = 20
"""Groups of items that are left out in turn, at most."""


def block_of(trained: TrialRecord) -> Block:
    """A trained trial's family, SFT seed, and draws with training seed."""
    return trained.family, str(trained.sft_seed), f"b{trained.block}-s{trained.seed}"


def read_points(
    trials: Iterable[TrialRecord],
    scores: Callable[[str], pd.DataFrame],
    reference: Callable[[str, int | None], pd.DataFrame],
    *,
    labels: Collection[str] | None = None,
    grids: Sequence[OfflineGrid] = (),
    groups: int = GROUPS,
) -> Points:
    """The policies of a sweep, block by block.

    A block is (family, `sft_seed`, `block` and `seed`). Merged trials (`kind: posthoc`) belong to their parent's block
    and label. A diverged run leaves its arm with the SFT model alone. A block in which a run or a merge failed or was
    not run, or whose scores give no reward or tax, is left out for every arm and named in `left_out`; policies without
    reward or tax are named in `unread`. Trials with `baseline` set (those a search begins with) belong to no block and
    are passed over.

    Args:
        trials: one record for each trial.
        scores: trial id -> its table of scores.
        reference: (family, sft_seed) -> the SFT model's table.
        labels: the arms' labels (`label_of`); default all of the trained trials.
        grids: the merges that runs should have.
        groups: of items, at most; as many as the smallest task or the prompts allow.

    Raises:
        ValueError: a merge whose parent is not among the trials, no complete block, or tables that hold other items
            than the SFT model's.
    """
    by_id = {trial.trial_id: trial for trial in trials if not trial.baseline}
    origin = {trial_id: _trained(trial, by_id) for trial_id, trial in by_id.items()}
    wanted = _trained_labels(by_id.values()) if labels is None else set(labels)
    by_block: dict[Block, list[str]] = {}
    for trial_id, parent in origin.items():
        if label_of(parent) in wanted:
            by_block.setdefault(block_of(parent), []).append(trial_id)
    travels = {(block_of(trial), trial.label) for trial in by_id.values() if _travelled(trial)}
    complete = {
        block: ids
        for block, ids in by_block.items()
        if _trained_all([by_id[i] for i in ids], wanted) and _merged_all([by_id[i] for i in ids], grids, travels)
    }
    read = _reader(scores, reference, groups)
    read_of = {i: read(i, origin[i]) for ids in complete.values() for i in ids if by_id[i].state in SCORED_STATES}
    unread = [i for i, (search, report) in read_of.items() if not (_known(search) and _known(report))]
    complete = {block: ids for block, ids in complete.items() if not set(ids) & set(unread)}
    chosen = [i for ids in complete.values() for i in ids if i in read_of]
    if not chosen:
        because = f"; without reward or tax: {', '.join(unread)}" if unread else ""
        raise ValueError(f"no block of {len(by_block)} is complete in {sorted(wanted)}{because}")
    readings = [read_of[i] for i in chosen]
    return Points(
        block=tuple(block_of(origin[i]) for i in chosen),
        label=np.array([label_of(origin[i]) for i in chosen]),
        merged=np.array([by_id[i].kind == "posthoc" for i in chosen]),
        search=np.stack([search for search, _ in readings]),
        report=np.stack([report[0] for _, report in readings]),
        report_without=np.stack([report[1:] for _, report in readings]),
        blocks=tuple(complete),
        left_out=tuple(block for block in by_block if block not in complete),
        unread=tuple(unread),
    )


def _reader(
    scores: Callable[[str], pd.DataFrame], reference: Callable[[str, int | None], pd.DataFrame], groups: int
) -> Callable[[str, TrialRecord], tuple[Floats, Floats]]:
    """(trial id, trained trial) -> readings [3] of the search split and [1 + G, 3] of the report split."""
    tables: dict[tuple[str, Any], tuple[ItemTable, ItemTable]] = {}

    def read(trial_id: str, trained: TrialRecord) -> tuple[Floats, Floats]:
        key = (trained.family, trained.sft_seed)
        if key not in tables:
            frame = reference(*key)
            tables[key] = item_table(frame, "search", 0), item_table(frame, "report", groups)
        search, report = tables[key]
        frame = scores(trial_id)
        return item_readings(frame, search, "search")[0], item_readings(frame, report, "report")

    return read


def _trained(trial: TrialRecord, by_id: Mapping[str, TrialRecord]) -> TrialRecord:
    """The trained trial behind a trial: itself, or its parent's."""
    while trial.kind == "posthoc":
        parent = str(trial.parent)
        if parent not in by_id:
            raise ValueError(f"parent {parent} of merged trial {trial.trial_id} is not among the trials")
        trial = by_id[parent]
    return trial


def _trained_labels(trials: Iterable[TrialRecord]) -> set[str]:
    return {label_of(trial) for trial in trials if trial.kind == "trained"}


def _trained_all(trials: Sequence[TrialRecord], wanted: Collection[str]) -> bool:
    """Whether every label was trained in the block, diverged or not, and nothing in it failed."""
    return _trained_labels(trials) >= set(wanted) and all(trial.state != "failed" for trial in trials)


def _merged_all(
    trials: Sequence[TrialRecord], grids: Sequence[OfflineGrid], travels: Collection[tuple[Block, Any]]
) -> bool:
    """Whether every run of the block that left a policy has its merges; `travels` are runs that give one a weight."""
    merges = Counter(trial.parent for trial in trials if trial.kind == "posthoc")
    for trial in filter(_left_policy, trials):
        asked = [grid for grid in grids if label_of(trial) in grid.arms]
        if merges[trial.trial_id] < sum(g.points + ((block_of(trial), g.travel_of) in travels) for g in asked):
            return False
    return True


def _left_policy(trial: TrialRecord) -> bool:
    return trial.kind == "trained" and trial.state == "completed" and trial.policy_path is not None


def _travelled(trial: TrialRecord) -> bool:
    return _left_policy(trial) and trial.diagnostics.get("travel") is not None


def _known(readings: Floats) -> bool:
    """Whether reward and tax are known, with every group of items left out too."""
    return bool(np.isfinite(readings[..., [REWARD, TAX]]).all())
