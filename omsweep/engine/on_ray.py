"""A sweep on Ray: tasks prepare, merge and score, Tune runs the queue's attempts, Train their workers."""

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import ray
from ray import tune
from ray.data._internal.cluster_autoscaler.default_autoscaling_coordinator import get_or_create_autoscaling_coordinator

from omsweep.cluster.connect import connect
from omsweep.cluster.output import WorkerOutput
from omsweep.console import Console
from omsweep.engine.attempt import SweepTrial
from omsweep.engine.capacity import LOOK_SECONDS, Capacity
from omsweep.engine.executor import MergeJob, Models, Ready, ScoreJob, Work
from omsweep.engine.failures import failed
from omsweep.engine.memory_kill import trials_outlive_memory_kills
from omsweep.engine.merging import merge_on_ray
from omsweep.engine.placement import BESIDE_WORKERS, Worker
from omsweep.engine.prepare import prepare_all
from omsweep.engine.scheduler import RungScheduler
from omsweep.engine.signals import interruptible
from omsweep.engine.tune_queue import QueueSearcher, TuneEvents
from omsweep.engine.watching import Watch, watched
from omsweep.engine.workers.group import Errand, Group, call_job
from omsweep.engine.workers.pool import Pool, Started
from omsweep.plan.attempts import Attempts, TrialQueue
from omsweep.space.search_space import SearchSpace
from omsweep.store.folder import SweepFolder
from omsweep.store.records import TrialSpec

Scored = Iterator[tuple[ScoreJob, Mapping[str, Any] | str]]
"""Jobs with their numbers, or with one line that says why there are none."""


class RayExecutor:
    """Runs a sweep's parts on the Ray that this process is connected to.

    Args:
        space: of the sweep.
        console: where progress is said.
        work: what the processes do.
        folder: the sweep's.
        epoch: of the lease.
        output: shows what the processes print.

    Raises:
        ValueError: a family's trial fits on no node that there is or may be.
    """

    def __init__(
        self,
        space: SearchSpace,
        console: Console,
        work: Work,
        folder: SweepFolder,
        epoch: int,
        output: WorkerOutput,
    ) -> None:
        self._space, self._console, self._work, self._folder = space, console, work, folder
        self._output = output
        self._train = train = space.file.train
        self._capacity = Capacity(space, lambda text: console.print(text, highlight=False, markup=False))
        self._group = Group(
            backend=train.backend,
            max_failures=train.max_failures,
            reuse=train.reuse_workers,
            session=work.session,
        )
        self._pool = Pool(self._group, f"{folder.name}-{epoch}", str(folder.path / "ray"))

    @classmethod
    @contextmanager
    def connected(
        cls, space: SearchSpace, console: Console, work: Work, folder: SweepFolder, epoch: int
    ) -> Iterator["RayExecutor"]:
        """An executor on the cluster of the job, or on a Ray of its own that ends with it."""
        with (
            connect(console, job=folder.name),
            WorkerOutput.shown(console) as output,
            interruptible(),
        ):  # ray.init has a SIGTERM handler of its own: ours comes after it
            executor = cls(space, console, work, folder, epoch, output)
            try:
                yield executor
            finally:
                executor._pool.close()

    def prepare(self, specs: Sequence[TrialSpec] | None) -> Ready:
        """Make every SFT model ready; ValueError with the message of what refused, NoRoom where no nodes came."""
        self._capacity.await_nodes()
        if self._train.backend == "train":
            get_or_create_autoscaling_coordinator()  # Ray Train's, for which the first trial would wait in vain
        with self._output.bars():
            return prepare_all(self._space, specs, self._capacity.workers, self._console, self._work)

    def train(self, queue: TrialQueue, models: Models) -> None:
        """Run the queue's jobs until it is finished."""
        train, capacity, folder = self._train, self._capacity, self._folder
        for trial in queue.attempts.log.state.trials.values():
            if trial.accelerator_type is not None:
                capacity.keep_to(trial.spec, trial.accelerator_type)
        trainable = tune.with_parameters(SweepTrial, prepared=dict(models), folder=str(folder.path), group=self._group)
        trainable.__name__ = folder.name  # what dashboard and log lines call Tune's actors, which run trial by trial
        capacity.scores = queue.scores
        inprocess = train.backend == "inprocess"
        pool = None if inprocess else self._pool

        def own(config: Mapping[str, Any]) -> tune.PlacementGroupFactory:
            """What a trial's own actor holds."""
            return tune.PlacementGroupFactory([Worker(**config["worker"]).bundle() if inprocess else BESIDE_WORKERS])

        self._console.print(f"running trials, {capacity.at_once()} at a time, backend {train.backend}")
        events, objectives = TuneEvents(queue, pool), self._space.file.objectives
        scheduler = RungScheduler(events, (objectives.reward, objectives.tax), self._space.search.constraints)
        watch = Watch(queue.attempts, events, folder.path, train.trial_timeout)
        tuner = tune.Tuner(
            tune.with_resources(trainable, own),
            tune_config=tune.TuneConfig(
                num_samples=-1,
                search_alg=QueueSearcher(queue, events, capacity, pool),
                scheduler=scheduler,
                reuse_actors=train.reuse_workers or not inprocess,  # a new one costs the imports of Ray and torch anew
                trial_name_creator=_attempt_name,
                trial_dirname_creator=_attempt_name,
            ),
            run_config=tune.RunConfig(
                name=f"driver-{queue.epoch}",
                storage_path=str(folder.path / "ray"),
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                callbacks=[events],
                verbose=0,
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
        self._pool.end_idle()
        at_once = self._capacity.at_once() * self._train.workers
        merge_on_ray(jobs, attempts, self._capacity.workers, self._work, at_once=at_once)

    def score(self, jobs: Sequence[ScoreJob]) -> Scored:
        """The numbers of each job as they come, or one line that says why there are none."""
        self._capacity.await_nodes()
        return (self._score_in_tasks if self._train.backend == "inprocess" else self._score_in_groups)(jobs)

    def _score_in_tasks(self, jobs: Sequence[ScoreJob]) -> Scored:
        """There are no workers that a score could be asked of."""
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

    def _score_in_groups(self, jobs: Sequence[ScoreJob]) -> Scored:
        capacity, waiting = self._capacity, deque(jobs)
        capacity.scores = lambda trial: self._space.file.evaluate.workers is not None
        running: dict[str, tuple[ScoreJob, Errand]] = {}

        def room() -> Started | None:
            worker = capacity.worker(waiting[0].trial, [job.trial for job, _ in running.values()])
            return None if worker is None else self._pool.take(worker)

        while waiting or running:
            while waiting and (group := room()) is not None:
                job = waiting.popleft()
                job = replace(job, prepared=group.worker.held(job.prepared))
                running[group.name] = job, Errand(group.actor, call_job(self._work.rescore, *_given(job)))
            if not running:
                capacity.wait(capacity.key_of(waiting[0].trial))
            ray.wait([errand.waits for _, errand in running.values()] or [ray.put(None)], timeout=LOOK_SECONDS)
            for name, (job, errand) in list(running.items()):
                answer = _answer(errand)
                if answer is not None:
                    del running[name]
                    self._pool.give_back(name, whole="result" in answer)
                    yield job, answer.get("result") or answer["raised"]["error"]


def _given(job: ScoreJob) -> tuple[Any, ...]:
    return job.trial, job.parent, job.prepared, job.folder, job.evaluate, job.split


def _answer(errand: Errand) -> Mapping[str, Any] | None:
    """The answer of a call, None where there is none yet."""
    try:
        news = errand.news(0)
    except ray.exceptions.RayError as error:
        return {"raised": failed(error).model_dump()}
    return None if news is None else news.answer


Connected = Callable[..., Any]
"""What makes an executor: `RayExecutor.connected`, or a test's."""


def _attempt_name(trial: Any) -> str:
    return f"{trial.config['spec']['trial_id']}-{trial.config['attempt']}"
