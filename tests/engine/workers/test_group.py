"""When a group makes place for a new one, and what is done about one that cannot be reached."""

from collections.abc import Iterator
from typing import Any

import pytest
from ray.exceptions import ActorDiedError, ActorUnavailableError

from omsweep.engine.placement import Worker
from omsweep.engine.workers import group as group_module
from omsweep.engine.workers.group import MOST_GROWTH, MOST_JOBS, SOME_GROWTH, Errand, Group, Held, WorkerGroup
from omsweep.engine.workers.mailbox import News

CALM, FULL = 0.5, 0.95
"""Shares of a node's memory that are used."""
BYTES = 2**30


@pytest.fixture
def group() -> Iterator[WorkerGroup]:
    """A group whose only worker waits for a job."""
    made = WorkerGroup("", Group(backend="inprocess", max_failures=0), Worker(cpus=1.0), "")
    yield made
    made.mailbox.close()


@pytest.mark.parametrize(
    ("held", "worn"),
    [
        ([], False),
        ([Held(BYTES, CALM), Held(BYTES + MOST_GROWTH, CALM)], False),
        ([Held(BYTES, CALM), Held(BYTES + MOST_GROWTH + 1, CALM)], True),
        ([Held(9 * BYTES, CALM)], False),  # what the first job takes is no growth
        ([Held(BYTES, FULL)], False),  # others use it
        ([Held(BYTES, CALM), Held(BYTES + SOME_GROWTH + 1, FULL)], True),
        ([Held(BYTES, CALM), Held(BYTES + SOME_GROWTH + 1, FULL), Held(BYTES, CALM)], False),
    ],
)
def test_a_group_that_has_grown_is_worn_and_sooner_where_its_node_is_full(
    group: WorkerGroup, held: list[Held], worn: bool
) -> None:
    for one in held:
        group.give(1, None, one)
    assert group.worn() == worn


def test_a_group_that_has_done_its_jobs_is_worn(group: WorkerGroup) -> None:
    group._jobs = MOST_JOBS
    assert group.worn()


class Handle:
    """An actor's handle: calls are noted, and are their own references."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def __getattr__(self, method: str) -> Any:
        def remote(*given: Any) -> tuple[Any, ...]:
            self.calls.append((method, *given))
            return self.calls[-1]

        return type("Method", (), {"remote": staticmethod(remote)})


def test_a_group_that_cannot_be_reached_is_asked_again_until_it_is_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = [7, ActorUnavailableError("away", None), News(7, answer={}), ActorDiedError()]

    def get(reference: Any, timeout: float) -> Any:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(group_module.ray, "get", get)
    handle = Handle()
    errand = Errand(handle, {})
    assert [errand.news(0) for _ in range(3)] == [None, None, News(7, answer={})]
    assert handle.calls == [("put", {}), ("news", 7), ("news", 7)]
    with pytest.raises(ActorDiedError):
        errand.news(0)
