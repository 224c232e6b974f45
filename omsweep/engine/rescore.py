"""The front's members scored on the report split, which chose nothing."""

from collections.abc import Mapping
from typing import Any

import ray
from rich.console import Console
from rich.markup import escape

from omsweep.engine.placement import Placement, task_options
from omsweep.engine.trainable import failed
from omsweep.engine.work import Work
from omsweep.redaction import redacted
from omsweep.results.front import front_summary
from omsweep.results.objectives import Objectives
from omsweep.space.search_space import SearchSpace
from omsweep.space.specs import evaluation
from omsweep.store.folder import SweepFolder
from omsweep.store.records import Prepared


def rescore_front(
    space: SearchSpace,
    folder: SweepFolder,
    prepared: Mapping[tuple[str, int], Prepared],
    placement: Placement,
    console: Console,
    work: Work,
) -> dict[str, dict[str, Any]]:
    """Score the front's members that have no numbers on the report split there; trial id -> numbers of `Scores`.

    A member that was merged after training is merged again: its weights were not kept.
    """
    by_id = {trial.trial_id: trial for trial in folder.trials()}
    objectives = Objectives.from_settings(space.resolved()["objectives"])
    summary = front_summary(list(by_id.values()), objectives)
    members = [by_id[m["trial_id"]] for m in summary["members"] if m["reward_report"] is None]
    if not members:
        return {}
    console.print(f"rescoring the front's {len(members)} members on the report split")
    task = ray.remote(work.rescore).options(**task_options(placement))
    evaluate = evaluation(space)["evaluate"]
    waiting = {}
    for trial in members:
        parent = by_id[trial.parent] if trial.parent else None
        models = prepared[trial.family, trial.sft_seed or 0]
        waiting[trial.trial_id] = task.remote(trial, parent, models, folder.path, evaluate, "report")
    rescored = {}
    for trial_id, reference in waiting.items():
        try:
            rescored[trial_id] = ray.get(reference)
        except ray.exceptions.RayError as error:
            console.print(f"[red]could not rescore {trial_id}[/]: {escape(redacted(failed(error).error or ''))}")
    return rescored
