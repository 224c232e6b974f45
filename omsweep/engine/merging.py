"""The second phase of a sweep: post-hoc trials, each parent's in one Ray task that yields them as they are scored."""

from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

import ray
from rich.console import Console

from omsweep.engine.callback import SweepEvents
from omsweep.engine.trainable import failure_message
from omsweep.space.posthoc import plan_posthoc
from omsweep.space.resources import Placement, task_options
from omsweep.space.search_space import SearchSpace
from omsweep.store.folder import SweepFolder

Running = dict[Any, tuple[dict[str, Any], deque[Mapping[str, Any]]]]
"""By the stream of a task's outcomes: its job, and the samples that have none yet."""


def run_posthoc(
    space: SearchSpace,
    folder: SweepFolder,
    events: SweepEvents,
    prepared: Mapping[tuple[str, int], Any],
    placement: Placement,
    console: Console,
) -> None:
    """Merge and score every post-hoc point of the trained trials; as many parents at a time as training had workers.

    Args:
        space: with the grids.
        folder: the sweep's.
        events: is told of every start and end; its `finished` trials are the parents.
        prepared: by family and SFT seed.
        placement: what a task is given.
        console: to say what is done and what is left out.
    """
    if not space.posthoc:
        return
    plan = plan_posthoc(space.posthoc, events.finished)
    count = sum(map(len, plan.samples.values()))
    console.print(f"merging {count} post-hoc points of {len(plan.samples)} trained trials")
    if plan.left_out:
        console.print(f"[yellow]left out[/] {plan.left_out} post-hoc points of trials that did not complete")
    events.expect(count)
    by_id = {trial.trial_id: trial for trial in events.finished}
    shared = {"content": space.resolved(), "folder": str(folder.path)}
    waiting: deque[dict[str, Any]] = deque()
    for trial_id, samples in plan.samples.items():
        parent = by_id[trial_id]
        job = {
            **shared,
            "prepared": prepared[parent.family, parent.sft_seed or 0],
            "parent": parent.to_json(),
            "samples": samples,
        }
        waiting.append(job)
    _run_jobs(waiting, events, placement, at_once=placement.concurrent_trials * space.file.train.workers)


def _run_jobs(waiting: deque[dict[str, Any]], events: SweepEvents, placement: Placement, *, at_once: int) -> None:
    task = ray.remote(_points_task).options(**task_options(placement), num_returns="streaming", max_retries=0)
    running: Running = {}
    try:
        while waiting or running:
            while waiting and len(running) < at_once:
                job = waiting.popleft()
                events.start(job["samples"][0])
                running[task.remote(job)] = job, deque(job["samples"])
            _take_next(running, waiting, events)
    finally:
        for stream in running:  # none, unless interrupted
            ray.cancel(stream, force=True)


def _take_next(running: Running, waiting: deque[dict[str, Any]], events: SweepEvents) -> None:
    """Wait for an outcome of a running task and record it; a task that has none left no longer runs.

    Where a task's process died, the point that it was at has failed, and the ones after it wait for another process.
    """
    (stream,), _ = ray.wait(list(running), num_returns=1)
    job, left = running[stream]
    try:
        outcome, alive = ray.get(next(stream)), True
    except ray.exceptions.RayError as error:
        outcome, alive = {"state": "failed", "error": failure_message(error)}, False
    events.end(left.popleft(), outcome)
    if left and alive:
        events.start(left[0])
        return
    del running[stream]
    if left:
        waiting.append(job | {"samples": list(left)})


def _points_task(job: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The outcome of each of a job's samples; one that raises is a failed one, and the next follows."""
    from omsweep.trial.merge import PointScorer

    score = PointScorer(job)
    for sample in job["samples"]:
        try:
            yield score(sample)
        except Exception as error:  # whatever it was, it is this point's outcome
            yield {"state": "failed", "error": failure_message(error)}
