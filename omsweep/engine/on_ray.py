"""A sweep on Ray: tasks prepare, merge and score, Tune runs the queue's attempts, Train their workers."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import ray
from ray import tune
from ray.data._internal.cluster_autoscaler.default_autoscaling_coordinator import get_or_create_autoscaling_coordinator
from rich.console import Console

from omsweep.cluster.connect import connect
from omsweep.engine.attempt import Group, run_trial
from omsweep.engine.capacity import Capacity
from omsweep.engine.executor import MergeJob, Models, Ready, ScoreJob, Work
from omsweep.engine.failures import failed
from omsweep.engine.memory_kill import trials_outlive_memory_kills
from omsweep.engine.merging import merge_on_ray
from omsweep.engine.placement import BESIDE_WORKERS, Worker
from omsweep.engine.prepare import prepare_all
from omsweep.engine.signals import interruptible
from omsweep.engine.tune_queue import QueueSearcher, TuneEvents
from omsweep.engine.watching import Watch, watched
from omsweep.plan.attempts import Attempts, TrialQueue
from omsweep.space.search_space import SearchSpace
from omsweep.store.folder import SweepFolder
from omsweep.store.records import TrialSpec


class RayExecutor:
    """Runs a sweep's parts on the Ray that this process is connected to.

    Args:
        space: of the sweep.
        console: where progress is said.
        work: what the processes do.
        name: of the sweep.

    Raises:
        ValueError: a family's trial fits on no node that there is or may be.
    """

    def __init__(self, space: SearchSpace, console: Console, work: Work, name: str) -> None:
        self._space, self._console, self._work, self._name = space, console, work, name
        self._train = space.file.train
        self._capacity = Capacity(space, lambda text: console.print(text, highlight=False, markup=False))

    @classmethod
    @contextmanager
    def connected(cls, space: SearchSpace, console: Console, work: Work, name: str) -> Iterator["RayExecutor"]:
        """An executor on the cluster of the job, or on a Ray of its own that ends with it."""
        with (
            connect(console, job=name),
            interruptible(),
        ):  # ray.init has a SIGTERM handler of its own: ours comes after it
            yield cls(space, console, work, name)

    def prepare(self, specs: Sequence[TrialSpec] | None) -> Ready:
        """Make every SFT model ready; ValueError with the message of what refused, NoRoom where no nodes came."""
        self._capacity.await_nodes()
        if self._train.backend == "train":
            get_or_create_autoscaling_coordinator()  # Ray Train's, for which the first trial would wait in vain
        return prepare_all(self._space, specs, self._capacity.workers, self._console, self._work)

    def train(self, queue: TrialQueue, models: Models, folder: SweepFolder) -> None:
        """Run the queue's jobs until it is finished."""
        train, capacity = self._train, self._capacity
        for trial in queue.attempts.log.state.trials.values():
            if trial.accelerator_type is not None:
                capacity.keep_to(trial.spec, trial.accelerator_type)
        group = Group(
            backend=train.backend,
            workers=train.workers,
            max_failures=train.max_failures,
            session=self._work.session,
        )
        trainable = tune.with_parameters(run_trial, prepared=dict(models), folder=str(folder.path), group=group)
        trainable.__name__ = self._name  # what the dashboard and log lines call Tune's actors, which run trial by trial
        inprocess = train.backend == "inprocess"

        def own(config: Mapping[str, Any]) -> tune.PlacementGroupFactory:
            """What a trial's own actor holds."""
            return tune.PlacementGroupFactory([Worker(**config["worker"]).bundle() if inprocess else BESIDE_WORKERS])

        self._console.print(f"running trials, {capacity.at_once()} at a time, backend {train.backend}")
        events = TuneEvents(queue)
        watch = Watch(queue.attempts, events, folder.path, train.trial_timeout)
        tuner = tune.Tuner(
            tune.with_resources(trainable, own),
            tune_config=tune.TuneConfig(
                num_samples=-1,
                search_alg=QueueSearcher(queue, events, capacity),
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
            capacity.ask_for_nothing()
            events.check()

    def merge(self, jobs: Sequence[MergeJob], attempts: Attempts) -> None:
        """Make and score post-hoc trials."""
        self._capacity.await_nodes()
        at_once = self._capacity.at_once() * self._train.workers
        merge_on_ray(jobs, attempts, self._capacity.workers, self._work, at_once=at_once)

    def score(self, jobs: Sequence[ScoreJob]) -> Iterator[tuple[ScoreJob, Mapping[str, Any] | str]]:
        """The numbers of each job as they come, or one line that says why there are none."""
        self._capacity.await_nodes()
        task = ray.remote(self._work.rescore)

        def start(job: ScoreJob) -> Any:
            own = self._capacity.workers[job.trial.family].task_options(f"rescore {job.trial.trial_id}")
            return task.options(**own).remote(*_given(job))

        running = {start(job): job for job in jobs}
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
