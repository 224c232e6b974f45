"""Post-hoc trials on Ray: each parent's in one task that yields them as they are scored."""

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import ray

from omsweep.engine.executor import MergeJob, Work
from omsweep.engine.failures import failed
from omsweep.engine.placement import Worker
from omsweep.plan.attempts import AGAIN, Attempts
from omsweep.store.records import Outcome, TrialSpec

Running = dict[Any, tuple[MergeJob, deque[TrialSpec]]]
"""By the stream of a task's outcomes: its job, and the trials that have none yet."""


def merge_on_ray(
    jobs: Sequence[MergeJob], attempts: Attempts, workers: Mapping[str, Worker], work: Work, *, at_once: int
) -> None:
    """Merge and score every point of the jobs.

    Args:
        jobs: by parent.
        attempts: is told of every start and end.
        workers: by family, what its tasks are given.
        work: what the tasks do.
        at_once: how many parents at a time.
    """
    task = ray.remote(num_returns="streaming", max_retries=0)(_points_task)

    def start(job: MergeJob) -> Any:
        own = workers[job.parent.family].task_options(f"merge {job.parent.trial_id}")
        return task.options(**own).remote(job, work.points)

    _run_jobs(deque(jobs), attempts, start, at_once=at_once)


def _run_jobs(waiting: deque[MergeJob], attempts: Attempts, start: Callable[[MergeJob], Any], *, at_once: int) -> None:
    running: Running = {}
    try:
        while waiting or running:
            while waiting and len(running) < at_once:
                job = waiting.popleft()
                _start(attempts, job.specs[0])
                running[start(job)] = job, deque(job.specs)
            _take_next(running, waiting, attempts)
    finally:
        for stream in running:  # none, unless interrupted
            ray.cancel(stream, force=True)


def _take_next(running: Running, waiting: deque[MergeJob], attempts: Attempts) -> None:
    """Wait for an outcome of a running task and record it; a task that has none left no longer runs.

    Where a task's process died, the point that it was at and the ones after it wait for another process.
    """
    (stream,), _ = ray.wait(list(running), num_returns=1)
    job, left = running[stream]
    try:
        outcome, alive = ray.get(next(stream)), True
    except ray.exceptions.RayError as error:
        outcome, alive = failed(error), False
    if attempts.end(left[0].trial_id, outcome):
        left.popleft()
        if left and alive:
            _start(attempts, left[0])
            return
    else:
        time.sleep(AGAIN[str(outcome.reason)].pause)
    del running[stream]
    if left:
        waiting.append(replace(job, specs=tuple(left)))


def _start(attempts: Attempts, spec: TrialSpec) -> None:
    attempts.start(attempts.job(spec.trial_id))


def _points_task(job: MergeJob, points: Callable[..., Callable[[TrialSpec], Outcome]]) -> Iterator[Outcome]:
    """The outcome of each of a job's trials; one that raises is a failed one, and the next follows."""
    score = points(job.parent, job.prepared, Path(job.folder))
    for spec in job.specs:
        try:
            outcome = score(spec)
        except Exception as error:  # whatever it was, it is this point's outcome
            outcome = failed(error)
        yield outcome
        if outcome.reason is not None:
            return  # it is tried again, in its turn
