"""Tune's side of the queue: attempts as configurations of Tune's trials, and what becomes of these.

Nothing in here is saved by Tune: a sweep goes on from its log.
"""

import os
import signal
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.tune.search import Searcher
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from omsweep.engine.capacity import Capacity
from omsweep.engine.failures import failed
from omsweep.engine.memory_kill import memory_kill_message
from omsweep.engine.placement import Worker
from omsweep.engine.workers.pool import Pool
from omsweep.plan.attempts import Job, TrialQueue
from omsweep.store.records import Outcome, TrialSpec
from omsweep.store.state import Rung
from omsweep.trial.progress import Place


class TuneEvents(tune.Callback):
    """Tells the queue; runs in the driver, one event at a time.

    What goes wrong in here ends the sweep: Tune would take it for an error of the trial, so it is kept, and raised
    where a step of Tune's ends and by `check`.

    Args:
        queue: of the sweep.
        pool: of the groups that its attempts are given, if any.
    """

    def __init__(self, queue: TrialQueue, pool: Pool | None = None) -> None:
        self._queue, self._pool = queue, pool
        self._hung: dict[str, str] = {}
        self.broken: BaseException | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune pickles its callbacks for a restore of its own, and this one belongs to the living driver."""
        return {}

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """An attempt runs."""
        config, worker = trial.config, Worker(**trial.config["worker"])
        job = Job(TrialSpec(**config["spec"]), config["attempt"], config["part"])
        held = worker.count * worker.cpus, worker.count * worker.gpus
        self._told(self._queue.start, job, worker.accelerator, *held)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """What an attempt reported at its end; one that ended after a report of where it was has lost its process."""
        told = trial.last_result.get("outcome")
        outcome = lost(trial) if told is None else Outcome.model_validate_json(told)
        self._end(trial, outcome)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """An attempt whose actor died before it could report."""
        self._end(trial, lost(trial), whole=False)

    def reach(self, trial: Any, rung: Rung) -> bool:
        """An attempt has come to a rung; whether it goes on."""
        return self._told(self._queue.reach, trial.config["spec"]["trial_id"], rung) is not False

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """End the sweep where something went wrong."""
        self.check()

    def check(self) -> None:
        """Raise what went wrong in the driver's own hands."""
        if self.broken is not None:
            raise self.broken

    def kill(self, trial_id: str, place: Place, why: str) -> None:
        """Kill an attempt's process where it runs, as one that hangs: a stopped one reacts to nothing else."""
        if trial_id not in self._hung:
            self._hung[trial_id] = why
            on_its_node = NodeAffinitySchedulingStrategy(node_id=place.node, soft=False)
            ray.remote(_kill_process).options(num_cpus=0, scheduling_strategy=on_its_node).remote(place.pid)

    def _end(self, trial: Any, outcome: Outcome, *, whole: bool = True) -> None:
        if self._pool is not None:
            self._pool.give_back(trial.config["group"], whole=whole and outcome.state != "failed")
        trial_id = trial.config["spec"]["trial_id"]
        why = self._hung.pop(trial_id, None)
        if why is not None and outcome.reason == "process lost":
            outcome = outcome.model_copy(update={"reason": "hung", "error": f"hung: {why}"})
        self._told(self._queue.end, trial_id, outcome)

    def _told(self, call: Any, *given: Any) -> Any:
        try:
            if self.broken is None:
                return call(*given)
        except BaseException as error:
            self.broken = error
        return None


class QueueSearcher(Searcher):
    """Asks the queue for every attempt, and starts none before the cluster has room for it.

    Args:
        queue: of the sweep.
        events: of the same sweep: while nothing runs, Tune does nothing but ask, so what must end the sweep is raised
            here too.
        capacity: of the cluster.
        pool: of the groups that attempts are given; None where each attempt's actor does its work itself.
    """

    def __init__(self, queue: TrialQueue, events: TuneEvents, capacity: Capacity, pool: Pool | None) -> None:
        super().__init__()
        self._queue, self._events, self._capacity, self._pool = queue, events, capacity, pool

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune pickles its searcher for a restore of its own, and this one belongs to the living driver."""
        return {}

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """The next attempt as the configuration of a `SweepTrial`, None while none can start, or FINISHED.

        Raises:
            NoRoom: nothing runs, and has not for long, because no trial fits on the nodes.
        """
        self._events.check()
        queue, capacity, pool, running = self._queue, self._capacity, self._pool, self._queue.running
        found: dict[str, Worker] = {}
        refused: list[str] = []

        def fits(spec: TrialSpec) -> bool:
            worker = capacity.worker(spec, running)
            if worker is None:
                refused.append(capacity.key_of(spec))
                return False
            found[spec.trial_id] = worker
            # warm workers that other trials wait for are ended only where nothing else is left to do, or for scores
            wanted = [capacity.needs[name] for name in queue.left()]
            alone = not running or queue.scores(spec)
            return alone or pool is None or not pool.displaces(worker, wanted)

        def room() -> bool:
            some = capacity.any_room(running)
            if not some:
                refused.extend(queue.left())
            return some

        job = queue.next(fits, room, ahead=len(capacity.workers))
        capacity.ask_for(queue.running, queue.left())
        if job is not None:
            worker = found[job.spec.trial_id]
            group = None
            if pool is not None:
                keep_idle = capacity.fits_beside(worker, running, pool.idle)
                group = pool.take(worker, keep_idle=keep_idle).name
            what = {"spec": job.spec.model_dump(), "attempt": job.attempt, "part": job.part}
            return what | {"worker": asdict(worker), "group": group}
        if pool is not None:
            pool.end_old()
        if refused and not running:
            capacity.wait(refused[0])
        return Searcher.FINISHED if queue.finished else None

    def on_trial_complete(self, trial_id: str, result: dict | None = None, error: bool = False) -> None:
        """Nothing: the queue was told."""

    def save(self, checkpoint_path: str) -> None:
        """Nothing, see above."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing, see above."""


def lost(trial: Any) -> Outcome:
    """The outcome of a process that died, from what Tune kept of its death."""
    with suppress(Exception):  # whatever it was, the text says it too
        error = trial.get_pickled_error()
        if error is not None:
            return failed(error)
    kept = getattr(trial, "error_file", None)
    text = Path(kept).read_text().strip() if kept and Path(kept).is_file() else ""
    if (killed := memory_kill_message(text)) is not None:
        return Outcome(state="failed", reason="out of memory", error=killed, traceback=text)
    line = text.splitlines()[-1] if text else "the trial's process died without a message"
    return Outcome(state="failed", reason="process lost", error=line, traceback=text or None)


def _kill_process(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
