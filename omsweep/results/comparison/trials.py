"""From trial records and tables of scores to `Points`.

A table of scores is what `omsweep.evaluation.score.score_policy` returns, with rows of both splits.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from omsweep.results.comparison.items import ItemTable, item_readings, item_table
from omsweep.results.comparison.points import REWARD, TAX, Block, Floats, Points
from omsweep.results.comparison.question import OfflineGrid, Question
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
    question: Question,
    *,
    groups: int = GROUPS,
) -> Points:
    """The policies of a sweep that its question is about, block by block.

    A block is (family, `sft_seed`, `block` and `seed`). Merged trials (`kind: posthoc`) belong to their parent's block,
    label and dose. A diverged run leaves its block without a policy at its dose. A block in which a run or a merge
    failed, or whose scores give no reward or tax, is left out for every arm and named in `left_out`, one in which
    something was not run in `unfinished`; policies without reward or tax are named in `unread`.

    Args:
        trials: one record for each trial.
        scores: trial id -> its table of scores.
        reference: (family, sft_seed) -> the SFT model's table.
        question: which labels, doses and grids are compared.
        groups: of items, at most; as many as the smallest task or the prompts allow.

    Raises:
        ValueError: a merge whose parent is not among the trials, no complete block, or tables that hold other items
            than the SFT model's.
    """
    by_id = {trial.trial_id: trial for trial in trials if not trial.baseline}
    origin = {trial_id: _trained(trial, by_id) for trial_id, trial in by_id.items()}
    by_block: dict[Block, list[str]] = {}
    for trial_id, parent in origin.items():
        if parent.label in question.labels:
            by_block.setdefault(block_of(parent), []).append(trial_id)
    wanted = _wanted(question)
    compared = {
        block: [by_id[i] for i in ids if (origin[i].label, _grid(by_id[i])) in wanted]
        for block, ids in by_block.items()
    }
    failed = {block for block, trials in compared.items() if any(trial.state == "failed" for trial in trials)}
    complete = {
        block: [trial.trial_id for trial in trials]
        for block, trials in compared.items()
        if block not in failed and _complete(trials, wanted, question)
    }
    read = _reader(scores, reference, groups)
    read_of = {i: read(i, origin[i]) for ids in complete.values() for i in ids if by_id[i].state == "completed"}
    unread = [i for i, (search, report) in read_of.items() if not (_known(search) and _known(report))]
    unread_blocks = {block_of(origin[i]) for i in unread}
    complete = {block: ids for block, ids in complete.items() if block not in unread_blocks}
    chosen = [i for ids in complete.values() for i in ids if i in read_of]
    if not chosen:
        because = f"; without reward or tax: {', '.join(unread)}" if unread else ""
        raise ValueError(f"no block of {len(by_block)} is complete in {sorted(question.labels)}{because}")
    return Points(
        block=tuple(block_of(origin[i]) for i in chosen),
        label=np.array([origin[i].label for i in chosen]),
        dose=np.array([1.0 if origin[i].dose is None else origin[i].dose for i in chosen]),
        grid=np.array([_grid(by_id[i]) for i in chosen]),
        weight=np.array([_weight(by_id[i], question) for i in chosen]),
        search=np.stack([read_of[i][0] for i in chosen]),
        report=np.stack([read_of[i][1] for i in chosen]),
        blocks=tuple(complete),
        left_out=tuple(block for block in by_block if block in failed or block in unread_blocks),
        unfinished=tuple(
            block for block in by_block if block not in complete and block not in failed and block not in unread_blocks
        ),
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


def _grid(trial: TrialRecord) -> str:
    """The grid that a post-hoc trial is of, which its label ends with; empty for a trained one."""
    return str(trial.label).rpartition("+")[2] if trial.kind == "posthoc" else ""


def _weight(trial: TrialRecord, question: Question) -> float:
    if trial.kind == "trained":
        return 1.0
    shift = question.grids[_grid(trial)].travel_of is not None
    return math.nan if shift else float(trial.params["posthoc"]["weight"])


def _wanted(question: Question) -> set[tuple[str, str]]:
    """(label, grid) of all that is compared; a way back begins at the run, which is read too."""
    return {(arm.label, grid) for arm in question.arms for grid in ("", arm.grid)}


def _complete(trials: Sequence[TrialRecord], wanted: set[tuple[str, str]], question: Question) -> bool:
    """Whether a block has every run, diverged or not, and every merge of those that left a policy.

    No shift is asked for where no run of the branch that says how far left a policy.
    """
    runs = [trial for trial in trials if trial.kind == "trained"]
    doses = len(question.ladder) or 1
    if any(sum(run.label == label for run in runs) < doses for label in question.labels):
        return False
    left = [run for run in runs if run.state == "completed" and run.policy_path is not None]
    merges = Counter((trial.parent, _grid(trial)) for trial in trials if trial.kind == "posthoc")

    def asked(grid: OfflineGrid) -> int:
        return grid.points if grid.travel_of is None else int(any(run.label == grid.travel_of for run in left))

    return all(
        merges[run.trial_id, grid] >= asked(question.grids[grid])
        for run in left
        for label, grid in wanted
        if grid and run.label == label
    )


def _known(readings: Floats) -> bool:
    """Whether reward and tax are known, with every group of items left out too."""
    return bool(np.isfinite(readings[..., [REWARD, TAX]]).all())
