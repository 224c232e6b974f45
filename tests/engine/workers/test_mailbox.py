"""A job is taken once by every worker, answered once, and waited for no longer than anybody is there to do it."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from omsweep.engine.workers.mailbox import Closed, Mailbox, Numbered

SECONDS = 5.0


@pytest.fixture
def box() -> Mailbox:
    return Mailbox()


def soon(call: Callable[..., Any], *given: Any) -> Any:
    """A call that is under way when it is returned."""
    pool = ThreadPoolExecutor(1)
    future = pool.submit(call, *given)
    time.sleep(0.05)
    return future


def test_every_worker_takes_a_job_once_and_rank_0_answers(box: Mailbox) -> None:
    waiting = soon(box.take, 0, SECONDS)
    number = box.put({"a": 1})
    assert waiting.result() == box.take(0, 0) == Numbered(number, {"a": 1})
    assert box.take(number, 0) is None
    told = soon(box.news, number, SECONDS)
    box.give(number, {"x": 2})
    assert told.result().answer == {"x": 2}
    assert box.put({"a": 2}) == number + 1
    assert box.take(number, 0) == Numbered(number + 1, {"a": 2})


def test_a_second_job_waits_for_the_end_of_the_first(box: Mailbox) -> None:
    box.put({})
    with pytest.raises(RuntimeError, match="job 1 is not done"):
        box.put({})


def test_at_a_rung_all_workers_wait_for_one_decision(box: Mailbox) -> None:
    number = box.put({})
    waiting = [soon(box.decision, number, 1, SECONDS) for _ in range(2)]
    box.reach(number, {"step": 4})
    told = box.news(number, 0)
    assert told is not None
    assert (told.rung, told.answer) == ({"step": 4}, None)
    box.decide(number, True)
    assert [one.result() for one in waiting] == [True, True]
    assert box.news(number, 0) is None
    box.reach(number, {"step": 8})
    second = [soon(box.decision, number, 2, SECONDS) for _ in range(2)]
    box.decide(number, False)
    assert [one.result() for one in second] == [False, False]


def test_a_job_that_waits_at_a_rung_can_be_ended_there(box: Mailbox) -> None:
    number = box.put({})

    def worker() -> None:
        box.reach(number, {"step": 4})
        box.give(number, {"went on": box.decision(number, 1, SECONDS)})

    threading.Thread(target=worker).start()
    box.news(number, SECONDS)
    box.stop_at_rung(SECONDS)
    assert box.unanswered is None
    told = box.news(number, 0)
    assert told is not None
    assert told.answer == {"went on": False}


def test_a_job_is_given_out_again_to_new_workers_and_starts_without_decisions(box: Mailbox) -> None:
    number = box.put({"resume_from": None})
    box.reach(number, {"step": 4})
    box.decide(number, True)
    box.again(resume_from="checkpoint-4")
    assert box.take(0, 0) == Numbered(number, {"resume_from": "checkpoint-4"})
    assert box.decision(number, 1, 0) is None


def test_what_a_worker_says_of_a_job_that_is_over_is_not_heard(box: Mailbox) -> None:
    first = box.put({})
    box.give(first, {"x": 1})
    second = box.put({})
    box.give(first, {"x": 2})
    assert box.news(second, 0) is None


def test_nobody_waits_for_what_nobody_wants_or_does(box: Mailbox) -> None:
    number = box.put({})
    waiting = soon(box.decision, number, 1, SECONDS)
    box.abandon(number)
    assert waiting.result() is False
    assert box.abandoned(number)
    told, taken = soon(box.news, number, SECONDS), soon(box.take, number, SECONDS)
    box.close()
    for one in (told, taken):
        with pytest.raises(Closed):
            one.result()
    with pytest.raises(Closed):
        box.take(0, 0)
