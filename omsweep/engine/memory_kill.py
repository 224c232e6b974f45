"""A trial whose process Ray kills because the node runs out of memory fails alone, with one line that says so.

Ray raises `OutOfMemoryError` for such a process, which is neither of the two errors that the actor manager of the
pinned Tune knows: it raises in the driver and ends the sweep. Patched here until a trial's process is no Tune actor.
"""

import hashlib
import inspect
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ray
from ray.air.execution._internal.actor_manager import RayActorManager
from ray.exceptions import OutOfMemoryError, RayActorError

PATCHED_RAY = "2.60.0"
PATCHED_SOURCE = "acbe35f640730dce46afcc2765e40bbc8fb2b3f5fcfc40a1328cad583df5caee"
"""SHA-256 of the method that is patched, as `source_hash` gives it."""
_REPORT = re.compile(r"killed due to the node running low on memory.*?was (?P<use>[^\n(]+?) *\(", re.DOTALL)

logger = logging.getLogger(__name__)


@contextmanager
def trials_outlive_memory_kills() -> Iterator[None]:
    """Let Tune take a memory kill for what it is, the death of one trial's actor; for the driver, around `Tuner.fit`.

    Where Ray's code is another than the one known here it stays as it is, with a warning.
    """
    original = RayActorManager._actor_task_failed
    if source_hash() != PATCHED_SOURCE:
        logger.warning(
            "Ray %s has another RayActorManager._actor_task_failed than Ray %s, for which omsweep/engine/memory_kill.py"
            " was written, and stays unpatched: a trial that is killed for memory may end the whole sweep",
            ray.__version__,
            PATCHED_RAY,
        )
        yield
        return

    def failed(manager: RayActorManager, tracked_actor_task: Any, exception: Exception) -> None:
        if isinstance(exception, OutOfMemoryError):
            exception = RayActorError(error_msg=str(exception))
        original(manager, tracked_actor_task, exception)

    RayActorManager._actor_task_failed = failed
    try:
        yield
    finally:
        RayActorManager._actor_task_failed = original


def source_hash() -> str:
    """SHA-256 of the method's source, empty where there is none."""
    try:
        source = inspect.getsource(RayActorManager._actor_task_failed)
    except OSError:
        return ""
    return hashlib.sha256(source.encode()).hexdigest()


def memory_kill_message(report: str) -> str | None:
    """One line for Ray's report of a memory kill, some fifty lines; None for other text."""
    found = _REPORT.search(report)
    if found is None:
        return None
    return f"out of memory: Ray killed the trial's process because its node ran out of memory ({found['use']})"
