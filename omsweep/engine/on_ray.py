"""A sweep on Ray: tasks prepare, merge and score, Tune runs the queue's attempts, Train their workers."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import ray
from ray import tune
from rich.console import Console

from omsweep.cluster.connect import connect
from omsweep.engine.attempt import Group, run_trial
from omsweep.engine.callback import TuneEvents
from omsweep.engine.executor import MergeJob, Models, Ready, ScoreJob, Work
from omsweep.engine.failures import failed
from omsweep.engine.memory_kill import trials_outlive_memory_kills
from omsweep.engine.merging import merge_on_ray
from omsweep.engine.placement import TRIAL_CPUS, Placement, place, task_options
from omsweep.engine.prepare import prepare_all
from omsweep.engine.searcher import QueueSearcher
from omsweep.engine.signals import interruptible
from omsweep.engine.watching import Watch, watched
from omsweep.plan.attempts import Attempts, TrialQueue
from omsweep.space.resources import declared_train
from omsweep.space.search_space import SearchSpace
from omsweep.store.folder import SweepFolder
from omsweep.store.records import TrialSpec


class RayExecutor:
    """Runs a sweep's parts on the Ray that this process is connected to.

    Args:
        space: of the sweep.
        console: where progress is said.
        work: what the processes do.

    Raises:
        ValueError: not even one trial can be placed.
    """

    def __init__(self, space: SearchSpace, console: Console, work: Work) -> None:
        self._space, self._console, self._work = space, console, work
        self._train = space.file.train
        self._placement: Placement = place(declared_train(self._train, space.families), ray.available_resources())

    @classmethod
    @contextmanager
    def connected(cls, space: SearchSpace, console: Console, work: Work) -> Iterator["RayExecutor"]:
        """An executor on the cluster of the job, or on a Ray of its own that ends with it."""
        with connect(console), interruptible():  # ray.init sets a SIGTERM handler of its own: ours comes after it
            yield cls(space, console, work)

    def prepare(self, specs: Sequence[TrialSpec] | None) -> Ready:
        """Make every SFT model ready; ValueError with the message of what refused."""
        return prepare_all(self._space, specs, self._placement, self._console, self._work)

    def train(self, queue: TrialQueue, models: Models, folder: SweepFolder) -> None:
        """Run the queue's jobs until it is finished."""
        train = self._train
        group = Group(
            backend=train.backend,
            workers=train.workers,
            max_failures=train.max_failures,
            placement=self._placement,
            session=self._work.session,
        )
        trainable = tune.with_parameters(run_trial, prepared=dict(models), folder=str(folder.path), group=group)
        own = self._placement.of_worker() if train.backend == "inprocess" else {"CPU": TRIAL_CPUS}
        at_once = self._placement.concurrent_trials
        self._console.print(f"running trials, {at_once} at a time, backend {train.backend}")
        events = TuneEvents(queue)
        watch = Watch(queue.attempts, events, folder.path, train.trial_timeout)
        tuner = tune.Tuner(
            tune.with_resources(trainable, tune.PlacementGroupFactory([own])),
            tune_config=tune.TuneConfig(
                num_samples=-1,
                search_alg=QueueSearcher(queue, events.check),
                max_concurrent_trials=at_once,
                reuse_actors=True,  # a new actor costs the imports of Ray and torch anew
                trial_name_creator=_attempt_name,
                trial_dirname_creator=_attempt_name,
            ),
            run_config=tune.RunConfig(
                name=f"driver-{queue.epoch}", storage_path=str(folder.path / "ray"), callbacks=[events], verbose=0
            ),
        )
        try:
            with trials_outlive_memory_kills(), watched(watch):
                tuner.fit()
        finally:
            events.check()

    def merge(self, jobs: Sequence[MergeJob], attempts: Attempts) -> None:
        """Make and score post-hoc trials."""
        merge_on_ray(jobs, attempts, self._placement, self._work, workers=self._train.workers)

    def score(self, jobs: Sequence[ScoreJob]) -> Iterator[tuple[ScoreJob, Mapping[str, Any] | str]]:
        """The numbers of each job as they come, or one line that says why there are none."""
        task = ray.remote(self._work.rescore).options(**task_options(self._placement))
        running = {task.remote(*_given(job)): job for job in jobs}
        while running:
            (reference,), _ = ray.wait(list(running), num_returns=1)
            job = running.pop(reference)
            try:
                yield job, ray.get(reference)
            except ray.exceptions.RayError as error:
                yield job, failed(error).error or "unknown"


Connected = Callable[..., Any]
"""What makes an executor: `RayExecutor.connected`, or a test's."""


def _given(job: ScoreJob) -> tuple[Any, ...]:
    return job.trial, job.parent, job.prepared, job.folder, job.evaluate, job.split


def _attempt_name(trial: Any) -> str:
    return f"{trial.config['spec']['trial_id']}-{trial.config['attempt']}"
