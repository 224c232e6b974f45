"""A group of worker processes that does one job after another: a trial's session, or a function.

It keeps interpreter, process group, kernels and SFT models between jobs (`omsweep.trial.models`). The group is an actor
beside its workers that hands them their jobs: under `train` a Ray Train run whose loop takes jobs, and lasts as long as
no worker is lost; under `inprocess` a thread of the actor itself. Ray Train neither restarts workers nor keeps
checkpoints: what a lost worker means for its job is said here, and in the log. A process that does a group's work
imports this file: it knows neither search spaces nor reports.
"""

import gc
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import psutil
import ray
from ray._common.utils import get_system_memory
from ray._private.utils import get_used_memory
from ray.exceptions import ActorUnavailableError, GetTimeoutError, RayError

from omsweep.engine.failures import failed
from omsweep.engine.placement import Worker
from omsweep.engine.workers.mailbox import Closed, Job, Mailbox, News, Numbered
from omsweep.store.records import Outcome, Part, Prepared, TrialSpec
from omsweep.trial.progress import Place, alive, note_place
from omsweep.trial.session import last_checkpoint, run_session

WAIT_SECONDS = 5.0
"""How long one question to a group waits for its answer."""
AGAIN_SECONDS = 1.0
"""After how long a group that could not be reached is asked again."""
IDLE_LOSSES = 3
"""So often in a row workers may be lost before they took a job."""
MOST_JOBS, MOST_GROWTH, MOST_USED, SOME_GROWTH = 200, 2 * 2**30, 0.9, 2**28
"""A worker that has done so many jobs, or has grown by so many bytes since its first, makes place for a new one; some
growth is enough where so large a share of its node's memory is used."""


@dataclass(frozen=True, kw_only=True)
class Group:
    """How trials run.

    Attributes:
        backend: `train` or `inprocess`.
        max_failures: how often a trial that lost a worker goes on from its last checkpoint before that is its end.
        reuse: whether workers do more than one job.
        session: what a trial does.
    """

    backend: str
    max_failures: int
    reuse: bool = True
    session: Callable[..., Outcome | None] = run_session


class Held(NamedTuple):
    """Memory at the end of a job: bytes of the worker, and which share of its node's is used."""

    size: int
    used: float


class Abandoned(Exception):
    """Nobody waits for the job that is being done."""


class Box(Protocol):
    """A mailbox as its workers see it, here or through Ray; see `Mailbox`."""

    def take(self, after: int, seconds: float) -> Numbered | None:
        """The next job."""

    def give(self, number: int, answer: Any, held: Held) -> None:
        """Answer a job."""

    def reach(self, number: int, rung: Any) -> None:
        """Tell the numbers at a rung."""

    def decision(self, number: int, passed: int, seconds: float) -> bool | None:
        """Whether a job goes on from a rung."""


def trial_job(
    spec: TrialSpec, prepared: Prepared, folder: Path, *, attempt: int, started: float, part: Part = "whole"
) -> Job:
    """A job that trains and scores, or a part of that; its answer are the fields of an `Outcome`.

    Args:
        spec: the trial.
        prepared: of its SFT model.
        folder: the sweep's, or the trial's own.
        attempt: at this trial, counted from 1; a later one goes on from the last checkpoint.
        started: Unix time at which the attempt was started.
        part: see `omsweep.trial.session.run_session`.
    """
    return {
        "spec": spec.model_dump(),
        "prepared": prepared.model_dump(),
        "folder": str(folder),
        "attempt": attempt,
        "started": started,
        "part": part,
    }


def call_job(function: Callable[..., Any], *given: Any) -> Job:
    """A job that calls a function on one worker; its answer is the result, or the `Outcome` fields of what it raised.

    The answer is `{"result": ...}` or `{"raised": ...}`.
    """
    return {"call": function, "given": given}


def serve(
    box: Box,
    session: Callable[..., Outcome | None],
    *,
    rank: int = 0,
    interrupted: Callable[[int], bool],
    leave: Callable[[], bool] = lambda: False,
) -> None:
    """Do jobs in one worker, until there are no more.

    Args:
        box: where they come from.
        session: what a trial does.
        rank: of this worker; 0 answers.
        interrupted: asked after each step with the job's number: True on all ranks for a checkpoint at once.
        leave: asked between jobs: True to take no more.

    Raises:
        Closed: there are no more jobs.
        Exception: what a session raised.
    """
    done, frozen = 0, False
    while not leave():
        taken = box.take(done, WAIT_SECONDS)
        if taken is None:
            continue
        done, job = taken
        answer = _call(job, rank) if "call" in job else _train(job, done, session, rank, box, interrupted)
        _tidy()
        if not frozen:
            gc.freeze()  # what a first job leaves stays, modules mostly: no later collection looks through it
            frozen = True
        if rank == 0:
            used = get_used_memory() / get_system_memory()  # of the container's where there is one
            box.give(done, answer, Held(psutil.Process().memory_info().rss, used))
        del taken, job, answer


def _train(
    job: Job,
    number: int,
    session: Callable[..., Outcome | None],
    rank: int,
    box: Box,
    interrupted: Callable[[int], bool],
) -> dict[str, Any] | None:
    folder, resume_from = Path(job["folder"]), job.get("resume_from")
    rungs = count(1)

    def at_rung(found: Mapping[str, Any] | None) -> bool:
        if found is not None:
            box.reach(number, found)
        passed = next(rungs)
        while (goes_on := box.decision(number, passed, WAIT_SECONDS)) is None:
            continue
        return goes_on

    with alive(folder, job["spec"]["trial_id"]) if rank == 0 else nullcontext():
        outcome = session(
            TrialSpec(**job["spec"]),
            Prepared(**job["prepared"]),
            folder,
            started=job["started"],
            rank=rank,
            part=job["part"],
            resume_from=None if resume_from is None else Path(resume_from),
            interrupted=partial(interrupted, number),
            at_rung=at_rung,
        )
    return None if outcome is None else outcome.model_dump()


def _call(job: Job, rank: int) -> Mapping[str, Any] | None:
    if rank > 0:
        return None
    try:
        return {"result": job["call"](*job["given"])}
    except Exception as error:  # whatever it was, it is this job's answer
        return {"raised": failed(error).model_dump()}


def _tidy() -> None:
    """Give back what a job held: the next one finds the memory that a new process would."""
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()


class WorkerGroup:
    """The actor of one group; its methods may be called at the same time.

    Args:
        name: of the group; what the dashboard calls it and its workers.
        group: how trials run.
        worker: what each worker occupies, and how many there are.
        storage: folder for what Ray Train notes of its runs.
    """

    def __init__(self, name: str, group: Group, worker: Worker, storage: str) -> None:
        self._name, self._group, self._worker, self._storage = name, group, worker, storage
        self.mailbox = Mailbox()
        self._jobs, self._held = 0, [Held(0, 0.0)]
        self._died: str | None = None
        serve_all = self._with_ray_train if group.backend == "train" else self._in_this_process
        self._thread = threading.Thread(target=serve_all, name="group", daemon=True)
        self._thread.start()

    def __repr__(self) -> str:
        return self._name

    def put(self, job: Job) -> int:
        """Hand in a job, see `trial_job` and `call_job`; its number."""
        if "spec" in job:
            folder, trial_id, attempt = Path(job["folder"]), job["spec"]["trial_id"], job["attempt"]
            note_place(folder, trial_id, Place(attempt, ray.get_runtime_context().get_node_id(), os.getpid()))
            job = {**job, "resume_from": _checkpoint(job) if attempt > 1 else None}
        self._jobs += 1
        return self.mailbox.put(job)

    def news(self, number: int) -> News | None:
        """What is new of a job, None where nothing is for a while; RuntimeError where no worker is left to do it."""
        try:
            return self.mailbox.news(number, WAIT_SECONDS)
        except Closed:
            raise RuntimeError(self._died or "the worker group was ended") from None

    def decide(self, number: int, go_on: bool) -> None:
        """See `Mailbox.decide`."""
        self.mailbox.decide(number, go_on)

    def abandon(self, number: int) -> None:
        """See `Mailbox.abandon`."""
        self.mailbox.abandon(number)

    def worn(self) -> bool:
        """Whether the group should rather be ended than given another job; one that waits at a rung ends there."""
        self.mailbox.stop_at_rung(WAIT_SECONDS)
        busy = self.mailbox.unanswered is not None or self._died is not None
        first, last = self._held[min(1, len(self._held) - 1)], self._held[-1]
        full = last.size - first.size > (SOME_GROWTH if last.used > MOST_USED else MOST_GROWTH)
        return busy or full or not self._group.reuse or self._jobs >= MOST_JOBS

    def end(self) -> None:
        """Let the workers go, and this process."""
        self.mailbox.close()
        self._thread.join()
        ray.actor.exit_actor()

    def take(self, after: int, seconds: float) -> Numbered | None:
        """See `Mailbox.take`."""
        return self.mailbox.take(after, seconds)

    def give(self, number: int, answer: Any, held: Held) -> None:
        """See `Mailbox.give`; what the worker held then."""
        self._held.append(held)
        self.mailbox.give(number, answer)

    def reach(self, number: int, rung: Any) -> None:
        """See `Mailbox.reach`."""
        self.mailbox.reach(number, rung)

    def decision(self, number: int, passed: int, seconds: float) -> bool | None:
        """See `Mailbox.decision`."""
        return self.mailbox.decision(number, passed, seconds)

    def _in_this_process(self) -> None:
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

        def interrupted(number: int) -> bool:
            if self.mailbox.abandoned(number):
                raise Abandoned
            return False

        while True:
            try:
                serve(self, self._group.session, interrupted=interrupted)
            except Closed:
                return
            except Exception as error:  # whatever it was, it is this job's outcome
                self._answer(failed(error))
            _tidy()

    def _with_ray_train(self) -> None:
        from omsweep.engine.workers.train_run import run_workers

        me, lost = ray.get_runtime_context().current_actor, 0
        for run in count():
            done = self._jobs
            try:
                run_workers(f"{self._name}-{run}", self._group, self._worker, self._storage, me)
            except Exception as error:  # whatever it was, it is the job's outcome, or means new workers
                if self.mailbox.unanswered is None:
                    lost = 0 if done < self._jobs else lost + 1
                    self._died = f"workers were lost {lost} times: {error}" if lost >= IDLE_LOSSES else None
                else:
                    self._lost(error)
            if self._died is not None:
                self.mailbox.close()
            if self.mailbox.closed:
                return

    def _lost(self, error: Exception) -> None:
        """Answer the job whose workers are lost, or give it out again."""
        outcome, at = failed(error), self.mailbox.unanswered
        assert at is not None, "there is one"
        failures = at.job.get("failures", 0) + (outcome.reason != "preempted")
        if failures > self._group.max_failures or outcome.reason == "out of memory" or "spec" not in at.job:
            self._answer(outcome)
        else:
            self.mailbox.again(failures=failures, resume_from=_checkpoint(at.job))

    def _answer(self, outcome: Outcome) -> None:
        at = self.mailbox.unanswered
        if at is not None:
            answer = outcome.model_dump()
            self.mailbox.give(at.number, answer if "spec" in at.job else {"raised": answer})


class Errand:
    """A job in a group, for whoever waits for it.

    Args:
        group: handle of the group's actor, which may still be starting.
        job: see `trial_job` and `call_job`.

    Attributes:
        waits: reference of what is to come next, for `ray.wait`.
    """

    def __init__(self, group: Any, job: Job) -> None:
        self._group = group
        self._number: int | None = None
        self.waits = group.put.remote(job)

    def news(self, seconds: float) -> News | None:
        """What is new within so many seconds; RayError where the group is gone."""
        try:
            found = ray.get(self.waits, timeout=seconds)
        except GetTimeoutError:
            return None
        except ActorUnavailableError:  # it answers again, or Ray finds out that it has died
            if self._number is None:
                raise
            time.sleep(AGAIN_SECONDS)
            self.waits = self._group.news.remote(self._number)
            return None
        if self._number is None:
            self._number, found = found, None
        if found is None or found.answer is None:
            self.waits = self._group.news.remote(self._number)
        return found

    def go_on(self) -> None:
        """Let the job go on from the rung that it has come to."""
        while True:
            try:
                return ray.get(self._group.decide.remote(self._number, True))
            except ActorUnavailableError:  # a decision that arrived is not taken again
                time.sleep(AGAIN_SECONDS)

    def abandon(self) -> None:
        """Wait no longer."""
        if self._number is not None:
            with suppress(RayError):
                ray.get(self._group.abandon.remote(self._number))


class OwnErrand:
    """As `Errand`, in a group that is no actor of its own: its worker is a thread of the process that waits."""

    def __init__(self, group: WorkerGroup, job: Job) -> None:
        self._group, self._number = group, group.put(job)

    def news(self, seconds: float) -> News | None:
        """What is new within so many seconds."""
        return self._group.mailbox.news(self._number, seconds)

    def go_on(self) -> None:
        """Let the job go on from the rung that it has come to."""
        self._group.decide(self._number, True)

    def abandon(self) -> None:
        """Wait no longer than until the job notices that, after its next step."""
        self._group.abandon(self._number)
        self._group.mailbox.wait_until_done()


def _checkpoint(job: Job) -> str | None:
    found = last_checkpoint(Path(job["folder"]), job["spec"]["trial_id"])
    return None if found is None else str(found)
