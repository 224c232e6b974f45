"""What an exception means for a trial: its own result, or an attempt that was lost and why.

A trial's processes import this file: it knows neither search spaces nor reports.
"""

import traceback
from collections.abc import Iterator

import ray
from ray.exceptions import NodeDiedError, OutOfMemoryError, RayActorError, RayTaskError, WorkerCrashedError

from omsweep.engine.memory_kill import memory_kill_message
from omsweep.store.records import Outcome
from omsweep.store.storage import FULL
from omsweep.trial.session import error_line

LOST = (RayActorError, WorkerCrashedError, NodeDiedError, ray.exceptions.RaySystemError)


def failed(error: BaseException) -> Outcome:
    """The outcome of what raised: of a worker group the first worker's own error."""
    root = _root(error)
    text = "".join(traceback.format_exception(error))
    killed = memory_kill_message(str(root)) or memory_kill_message(str(error))
    if killed or isinstance(root, OutOfMemoryError):
        return Outcome(state="failed", reason="out of memory", error=killed or error_line(root), traceback=text)
    if isinstance(root, LOST):
        reason = "preempted" if getattr(root, "preempted", False) else "process lost"
        return Outcome(state="failed", reason=reason, error=error_line(root), traceback=text)
    if any(isinstance(one, OSError) and one.errno in FULL for one in _chain(root)):
        return Outcome(state="failed", reason="storage full", error=error_line(root), traceback=text)
    return Outcome(state="failed", error=error_line(root), traceback=text)


def _root(error: BaseException) -> BaseException:
    workers = getattr(error, "worker_failures", None)
    if workers:
        error = next(iter(workers.values()))
    cause = getattr(error, "cause", None) if isinstance(error, RayTaskError) or not isinstance(error, LOST) else None
    return cause if isinstance(cause, BaseException) else error


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
