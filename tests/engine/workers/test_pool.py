"""Groups are given out again, ended for others' sake and with age, and killed where something went wrong in them."""

from typing import Any

import pytest
from ray.exceptions import ActorDiedError

from omsweep.engine.placement import Worker
from omsweep.engine.workers import pool as pool_module
from omsweep.engine.workers.group import Group
from omsweep.engine.workers.pool import IDLE_SECONDS, Pool, Started

SMALL, LARGE = Worker(cpus=1.0), Worker(cpus=4.0)


class Actor:
    """A group that says whether it is worn, and what was done to it."""

    def __init__(self, name: str, told: list[Any]) -> None:
        self.name, self.told, self.worn_out = name, told, False  # type: str, list[Any], Any

    def __getattr__(self, method: str) -> Any:
        def remote() -> Any:
            if method == "end":
                self.told.append(("end", self.name))
            return self.worn_out

        return type("Method", (), {"remote": staticmethod(remote)})


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What happens to groups, in order; nothing is started."""
    told: list[Any] = []

    def start(name: str, group: Group, worker: Worker, storage: str) -> Started:
        told.append(("start", name))
        return Started(name, worker, Actor(name, told))

    def get(value: Any, timeout: float) -> Any:
        if isinstance(value, Exception):
            raise value
        return value

    monkeypatch.setattr(pool_module, "start", start)
    monkeypatch.setattr(pool_module.ray, "get", get)
    monkeypatch.setattr(pool_module.ray, "kill", lambda actor: told.append(("kill", actor.name)))
    monkeypatch.setattr(pool_module.ray, "wait", lambda *_, **__: ([], []))
    return told


def made(clock: Clock | None = None) -> Pool:
    return Pool(Group(backend="train", max_failures=0), "s-1", "/storage", clock or Clock())


def test_a_group_is_given_out_again_for_the_same_kind_of_worker(told: list[Any]) -> None:
    pool = made()
    first = pool.take(SMALL)
    second = pool.take(SMALL)
    assert (first.name, second.name) == ("s-1-workers-1", "s-1-workers-2")
    pool.give_back(first.name, whole=True)
    assert pool.take(SMALL).actor is first.actor
    assert told == [("start", "s-1-workers-1"), ("start", "s-1-workers-2")]


def test_idle_groups_make_room_for_another_kind(told: list[Any]) -> None:
    pool = made()
    pool.give_back(pool.take(SMALL).name, whole=True)
    assert pool.displaces(LARGE, [SMALL])
    assert not pool.displaces(LARGE, [LARGE])
    assert not pool.displaces(SMALL, [SMALL])
    kept = pool.take(Worker(cpus=1.0, count=2), keep_idle=True)  # there is room for both
    assert pool.idle == [SMALL]
    pool.take(LARGE)
    assert told[1:] == [("start", kept.name), ("end", "s-1-workers-1"), ("start", "s-1-workers-3")]


def test_what_went_wrong_in_a_group_ends_it(told: list[Any]) -> None:
    pool = made()
    failed, worn, gone = (pool.take(SMALL) for _ in range(3))
    worn.actor.worn_out, gone.actor.worn_out = True, ActorDiedError()
    pool.give_back(failed.name, whole=False)
    pool.give_back(worn.name, whole=True)
    pool.give_back(gone.name, whole=True)
    pool.give_back("unknown", whole=True)
    assert told[3:] == [("kill", failed.name), ("end", worn.name), ("kill", gone.name)]


def test_groups_that_are_idle_for_long_end(told: list[Any]) -> None:
    clock = Clock()
    pool = made(clock)
    first = pool.take(SMALL)
    pool.give_back(first.name, whole=True)
    clock.now = IDLE_SECONDS
    pool.end_old()
    assert told == [("start", first.name)]
    clock.now += 1
    pool.end_old()
    assert told[1:] == [("end", first.name)]


def test_at_the_end_nothing_is_left(told: list[Any]) -> None:
    pool = made()
    busy, idle = pool.take(SMALL), pool.take(SMALL)
    pool.give_back(idle.name, whole=True)
    pool.close()
    assert told[2:] == [("kill", busy.name), ("end", idle.name), ("kill", idle.name)]
