"""The second phase of a sweep: post-hoc trials, each parent's in one Ray task that yields them as they are scored."""

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ray
from rich.console import Console

from omsweep.engine.callback import SweepEvents
from omsweep.engine.placement import Placement, task_options
from omsweep.engine.trainable import failed
from omsweep.engine.work import Work
from omsweep.plan.posthoc import plan_posthoc
from omsweep.space.search_space import SearchSpace
from omsweep.store.folder import SweepFolder
from omsweep.store.records import Outcome, Prepared, TrialRecord, TrialSpec


@dataclass(frozen=True, kw_only=True)
class MergeJob:
    """The post-hoc trials of one parent that are still to be made."""

    parent: TrialRecord
    prepared: Prepared
    folder: str
    specs: Sequence[TrialSpec]


Running = dict[Any, tuple[MergeJob, deque[TrialSpec]]]
"""By the stream of a task's outcomes: its job, and the trials that have none yet."""


def run_posthoc(
    space: SearchSpace,
    folder: SweepFolder,
    events: SweepEvents,
    prepared: Mapping[tuple[str, int], Prepared],
    placement: Placement,
    console: Console,
    work: Work,
) -> None:
    """Merge and score every post-hoc point of the trained trials; as many parents at a time as training had workers.

    Args:
        space: with the grids.
        folder: the sweep's.
        events: is told of every start and end; its `finished` trials are the parents.
        prepared: by family and SFT seed.
        placement: what a task is given.
        console: to say what is done and what is left out.
        work: what the tasks do.
    """
    if not space.posthoc:
        return
    plan = plan_posthoc(space, events.finished)
    count = sum(map(len, plan.specs.values()))
    console.print(f"merging {count} post-hoc points of {len(plan.specs)} trained trials")
    if plan.left_out:
        console.print(f"[yellow]left out[/] {plan.left_out} post-hoc points of trials that did not complete")
    events.expect(count)
    by_id = {trial.trial_id: trial for trial in events.finished}
    waiting: deque[MergeJob] = deque()
    for trial_id, specs in plan.specs.items():
        parent = by_id[trial_id]
        models = prepared[parent.family, parent.sft_seed or 0]
        waiting.append(MergeJob(parent=parent, prepared=models, folder=str(folder.path), specs=specs))
    task = ray.remote(_points_task).options(**task_options(placement), num_returns="streaming", max_retries=0)
    at_once = placement.concurrent_trials * space.file.train.workers
    _run_jobs(waiting, events, lambda job: task.remote(job, work.points), at_once=at_once)


def _run_jobs(waiting: deque[MergeJob], events: SweepEvents, start: Callable[[MergeJob], Any], *, at_once: int) -> None:
    running: Running = {}
    try:
        while waiting or running:
            while waiting and len(running) < at_once:
                job = waiting.popleft()
                events.start(job.specs[0])
                running[start(job)] = job, deque(job.specs)
            _take_next(running, waiting, events)
    finally:
        for stream in running:  # none, unless interrupted
            ray.cancel(stream, force=True)


def _take_next(running: Running, waiting: deque[MergeJob], events: SweepEvents) -> None:
    """Wait for an outcome of a running task and record it; a task that has none left no longer runs.

    Where a task's process died, the point that it was at has failed, and the ones after it wait for another process.
    """
    (stream,), _ = ray.wait(list(running), num_returns=1)
    job, left = running[stream]
    try:
        outcome, alive = ray.get(next(stream)), True
    except ray.exceptions.RayError as error:
        outcome, alive = failed(error), False
    events.end(left.popleft(), outcome)
    if left and alive:
        events.start(left[0])
        return
    del running[stream]
    if left:
        waiting.append(replace(job, specs=tuple(left)))


def _points_task(job: MergeJob, points: Callable[..., Callable[[TrialSpec], Outcome]]) -> Iterator[Outcome]:
    """The outcome of each of a job's trials; one that raises is a failed one, and the next follows."""
    score = points(job.parent, job.prepared, Path(job.folder))
    for spec in job.specs:
        try:
            yield score(spec)
        except Exception as error:  # whatever it was, it is this point's outcome
            yield failed(error)
