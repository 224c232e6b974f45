"""The front's members scored on the report split, which chose nothing."""

from collections.abc import Mapping
from typing import Any

import ray
from rich.console import Console

from omsweep.engine.trainable import failure_message
from omsweep.redaction import redacted
from omsweep.results.front import front_summary
from omsweep.space.resources import Placement, task_options
from omsweep.space.search_space import SearchSpace
from omsweep.store.folder import SweepFolder


def rescore_front(
    space: SearchSpace,
    folder: SweepFolder,
    prepared: Mapping[tuple[str, int], Any],
    placement: Placement,
    console: Console,
) -> dict[str, dict[str, Any]]:
    """Score the front's members that have no numbers on the report split there; trial id -> score fields.

    A member that was merged after training is merged again: its weights were not kept.
    """
    by_id = {trial.trial_id: trial for trial in folder.trials()}
    summary = front_summary(list(by_id.values()), space.resolved()["objectives"])
    members = [by_id[m["trial_id"]] for m in summary["members"] if m["reward_report"] is None]
    if not members:
        return {}
    console.print(f"rescoring the front's {len(members)} members on the report split")
    task = ray.remote(_rescore_task).options(**task_options(placement))
    waiting = {}
    for t in members:
        job = {
            "content": space.resolved(),
            "prepared": prepared[t.family, t.sft_seed or 0],
            "folder": str(folder.path),
            "trial": t.to_json(),
            "parent": by_id[t.parent].to_json() if t.parent else None,
        }
        waiting[t.trial_id] = task.remote(job, "report")
    rescored = {}
    for trial_id, reference in waiting.items():
        try:
            rescored[trial_id] = ray.get(reference)
        except ray.exceptions.RayError as error:
            console.print(f"[red]could not rescore {trial_id}[/]: {redacted(failure_message(error))}")
    return rescored


def _rescore_task(job: Mapping[str, Any], split: str) -> dict[str, Any]:
    from omsweep.trial.merge import merged_again
    from omsweep.trial.session import score_saved

    with merged_again(job) as policy_path:
        return score_saved(job, policy_path, split)
