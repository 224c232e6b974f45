"""What Tune makes of a trial's process that Ray killed for memory."""

import logging
from types import SimpleNamespace
from typing import Any

import pytest
import ray
from ray.air.execution._internal.actor_manager import RayActorManager
from ray.air.execution._internal.tracked_actor import TrackedActor
from ray.air.execution._internal.tracked_actor_task import TrackedActorTask
from ray.exceptions import ObjectLostError, OutOfMemoryError, RayActorError

from omsweep.engine import memory_kill
from omsweep.engine.failures import failed
from omsweep.engine.memory_kill import PATCHED_RAY, PATCHED_SOURCE, source_hash, trials_outlive_memory_kills
from omsweep.engine.tune_queue import lost

REPORT = """1 worker(s) were killed due to the node running low on memory. Memory on the node (IP: 192.0.2.2, ID: 28) \
was 22.99GB used / 23.54GB limit (0.976)
OOM kill reason: Memory usage 24685180441B exceeded threshold of 24012676915B (95.0% of 25276502016B limit)
Top 10 memory users: PID	MEM(GB)	COMMAND
30759	8.50	ray::ImplicitFunc.train
Refer to the documentation on how to address the out of memory issue."""
SENTENCE = "its node ran out of memory (22.99GB used / 23.54GB limit)"


def told(error: Exception) -> list[Exception]:
    """What Tune is told of the actor and of its task where the task ends with `error`."""
    seen: list[Exception] = []
    actor = TrackedActor(7, on_error=lambda _, exception: seen.append(exception))
    manager: Any = RayActorManager(SimpleNamespace(free_resources=lambda **_: None))
    manager._live_actors_to_ray_actors_resources[actor] = None, None
    task = TrackedActorTask(actor, on_error=lambda _, exception: seen.append(exception))
    manager._actor_task_failed(task, error)
    return seen


def test_this_ray_is_the_one_that_the_patch_was_written_for() -> None:
    assert (ray.__version__, source_hash()) == (PATCHED_RAY, PATCHED_SOURCE)
    with pytest.raises(RuntimeError, match="Caught unexpected exception"):
        told(OutOfMemoryError(REPORT))  # else Ray mended it, and the patch can go


def test_a_memory_kill_is_the_death_of_one_actor() -> None:
    before = RayActorManager._actor_task_failed
    with trials_outlive_memory_kills():
        seen = told(OutOfMemoryError(REPORT))
        with pytest.raises(RuntimeError, match="Caught unexpected exception"):
            told(ObjectLostError("00", None, ""))  # anything else is as before
    assert [type(error) for error in seen] == [RayActorError, RayActorError]
    assert RayActorManager._actor_task_failed is before


def test_another_ray_is_left_alone_with_a_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(memory_kill, "PATCHED_SOURCE", "0")
    before = RayActorManager._actor_task_failed
    with caplog.at_level(logging.WARNING), trials_outlive_memory_kills():
        assert RayActorManager._actor_task_failed is before
    assert "may end the whole sweep" in caplog.text


def test_the_trial_says_in_one_line_that_its_node_ran_out_of_memory(tmp_path: Any) -> None:
    kept = tmp_path / "error.txt"
    kept.write_text(f"Failure # 1 (occurred at 2026-11-29_22-08-25)\n{REPORT}\n")
    in_process = lost(SimpleNamespace(error_file=str(kept)))
    group: Any = RuntimeError("group failed")
    group.worker_failures = {0: OutOfMemoryError(REPORT)}
    for outcome in (in_process, failed(group)):
        assert outcome.reason == "out of memory"
        assert SENTENCE in str(outcome.error)
        assert "\n" not in str(outcome.error)


def test_other_deaths_keep_their_last_line(tmp_path: Any) -> None:
    kept = tmp_path / "error.txt"
    kept.write_text("Failure # 1\nThe actor died.\nIt was killed by SIGKILL.\n")
    outcome = lost(SimpleNamespace(error_file=str(kept)))
    assert (outcome.error, outcome.reason) == ("It was killed by SIGKILL.", "process lost")
    assert failed(ValueError("no")).error == "ValueError: no"
