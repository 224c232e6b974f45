"""What an exception means for a trial: its own result, or an attempt that was lost and why.

A trial's processes import this file: it knows neither search spaces nor reports.
"""

import traceback
from collections.abc import Iterator

import ray
from ray.exceptions import NodeDiedError, OutOfMemoryError, RayActorError, RayTaskError, WorkerCrashedError
from ray.train.v2._internal.exceptions import (
    WorkerGroupStartupFailedError,
    WorkerGroupStartupTimeoutError,
    WorkerHealthCheckTimeoutError,
)
from ray.train.v2.api.exceptions import PreemptionError

from omsweep.engine.memory_kill import memory_kill_message
from omsweep.foreign import error_line
from omsweep.redaction import redacted
from omsweep.store.records import Outcome
from omsweep.store.storage import FULL

LOST = (
    RayActorError,
    WorkerCrashedError,
    NodeDiedError,
    ray.exceptions.RaySystemError,
    PreemptionError,
    WorkerGroupStartupFailedError,
    WorkerGroupStartupTimeoutError,
    WorkerHealthCheckTimeoutError,
)
"""What is the machine's doing; the last four are of Ray Train's worker groups."""


def failed(error: BaseException) -> Outcome:
    """The outcome of what raised: of a worker group the first worker's own error."""
    root = _root(error)
    text = redacted("".join(traceback.format_exception(error)))
    killed = memory_kill_message(str(root)) or memory_kill_message(str(error))
    if killed or isinstance(root, OutOfMemoryError):
        return Outcome(state="failed", reason="out of memory", error=killed or error_line(root), traceback=text)
    if isinstance(root, LOST):
        preempted = isinstance(root, PreemptionError) or getattr(root, "preempted", False)
        reason = "preempted" if preempted else "process lost"
        return Outcome(state="failed", reason=reason, error=error_line(root), traceback=text)
    if any(isinstance(one, OSError) and one.errno in FULL for one in _chain(root)):
        return Outcome(state="failed", reason="storage full", error=error_line(root), traceback=text)
    return Outcome(state="failed", error=error_line(root), traceback=text)


def _root(error: BaseException) -> BaseException:
    """What an error comes down to; of a worker group a worker's loss, else the first worker's own error.

    Where a worker is lost the others fail too, with errors of their own about it.
    """
    workers = [_root(one) for one in (getattr(error, "worker_failures", None) or {}).values()]
    if workers:
        return next((one for one in workers if isinstance(one, (*LOST, OutOfMemoryError))), workers[0])
    if isinstance(error, LOST) and not isinstance(error, RayTaskError):
        return error
    inner = (getattr(error, name, None) for name in ("health_check_failure", "controller_failure", "cause"))
    return next((_root(one) for one in inner if isinstance(one, BaseException)), error)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
