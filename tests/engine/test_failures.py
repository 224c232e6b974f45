"""Which errors are a trial's own result, and which cost an attempt."""

import errno

import pytest
from ray.exceptions import ActorDiedError, OutOfMemoryError, RayActorError, WorkerCrashedError
from ray.train import TrainingFailedError
from ray.train.v2._internal.exceptions import WorkerGroupStartupTimeoutError, WorkerHealthCheckFailedError
from ray.train.v2.api.exceptions import ControllerError, WorkerGroupError

from omsweep.engine.failures import failed

KILL = """Task was killed due to the node running low on memory.
Memory on the node (IP: 10.0.0.1) where the task was running was 22.9GB / 23.4GB (0.98), which exceeds the threshold."""


def chained() -> Exception:
    try:
        try:
            raise OSError(errno.ENOSPC, "No space left on device")
        except OSError as full:
            raise RuntimeError("cannot save") from full
    except RuntimeError as error:
        return error


def unhealthy(failure: Exception) -> Exception:
    """What Ray Train says of a worker that does not answer."""
    return WorkerHealthCheckFailedError("A worker health check failed.", failure)


@pytest.mark.parametrize(
    ("error", "reason", "text"),
    [
        (ValueError("too long"), None, "ValueError: too long"),
        (WorkerGroupError("group", {1: ValueError("too long")}), None, "ValueError: too long"),
        (WorkerCrashedError(), "process lost", "WorkerCrashedError"),
        (ActorDiedError(), "process lost", "ActorDiedError"),
        (RayActorError(preempted=True), "preempted", "RayActorError"),
        (WorkerGroupError("group", {0: ActorDiedError()}), "process lost", "ActorDiedError"),
        (WorkerGroupError("group", {0: unhealthy(ActorDiedError())}), "process lost", "ActorDiedError"),
        (WorkerGroupError("group", {0: ValueError("gloo"), 1: unhealthy(ActorDiedError())}), "process lost", "Actor"),
        (WorkerGroupError("group", {0: unhealthy(OutOfMemoryError(KILL))}), "out of memory", "out of memory: Ray"),
        (ControllerError(ActorDiedError()), "process lost", "ActorDiedError"),
        (ControllerError(WorkerGroupStartupTimeoutError(2)), "process lost", "WorkerGroupStartupTimeoutError"),
        (ControllerError(ValueError("no such thing")), None, "ValueError: no such thing"),
        (OutOfMemoryError(KILL), "out of memory", "out of memory: Ray killed the trial's process"),
        (WorkerGroupError("group", {0: OutOfMemoryError(KILL)}), "out of memory", "out of memory: Ray killed"),
        (chained(), "storage full", "RuntimeError: cannot save"),
    ],
)
def test_what_an_error_means(error: Exception, reason: str | None, text: str) -> None:
    outcome = failed(error)
    assert (outcome.state, outcome.reason) == ("failed", reason)
    assert str(outcome.error).startswith(text) or text in str(outcome.error)
    assert outcome.traceback


def test_a_train_error_is_its_workers() -> None:
    assert issubclass(WorkerGroupError, TrainingFailedError)
