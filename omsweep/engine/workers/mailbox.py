"""Where a job meets the workers that do it: one job at a time, handed out by number, and what they say of it.

Ray-free. Whoever has a job puts it in and waits for news; every worker takes each job once, rank 0 answers for all.
"""

import threading
from collections.abc import Mapping
from typing import Any, NamedTuple

Job = Mapping[str, Any]
"""See `trial_job` and `call_job` of `omsweep.engine.workers.group`."""


class Numbered(NamedTuple):
    """A job and its number, from 1."""

    number: int
    job: Job


class News(NamedTuple):
    """What became of a job: its `answer` at the end, or at a `rung` the numbers there; then it waits for `decide`."""

    number: int
    answer: Any = None
    rung: Any = None


class Closed(Exception):
    """There will be no more jobs."""


class Mailbox:
    """All methods may be called from any thread; those that wait return None when their seconds are over."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._at: Numbered | None = None
        self._number = 0
        self._news: News | None = None
        self._decisions: list[bool] = []
        self._abandoned: int = 0
        self._closed = False

    def put(self, job: Job) -> int:
        """Hand in a job; its number.

        Raises:
            RuntimeError: another job is not done.
            Closed: there is nobody to do it.
        """
        with self._changed:
            if self._at is not None:
                raise RuntimeError(f"job {self._at.number} is not done")
            self._check_open()
            self._number += 1
            self._at, self._news, self._decisions = Numbered(self._number, job), None, []
            self._changed.notify_all()
            return self._number

    def news(self, number: int, seconds: float) -> News | None:
        """What is new of a job.

        Raises:
            Closed: nobody will do it.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._is_news(number), seconds)
            if self._is_news(number):
                return self._news
            self._check_open()
            return None

    def decide(self, number: int, go_on: bool) -> None:
        """Let a job that has come to a rung go on, or end there."""
        with self._changed:
            if self._news is not None and self._news.number == number and self._news.answer is None:
                self._news = None
                self._decisions.append(go_on)
                self._changed.notify_all()

    def stop_at_rung(self, seconds: float) -> None:
        """Let a job that waits at a rung end there, and wait for that."""
        with self._changed:
            if self._news is not None and self._news.answer is None:
                self.decide(self._news.number, False)
                self._changed.wait_for(lambda: self._closed or self._at is None, seconds)

    def wait_until_done(self) -> None:
        """Wait for the end of the job that there is."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._at is None)

    def abandon(self, number: int) -> None:
        """Nobody waits for a job any more."""
        with self._changed:
            self._abandoned = max(self._abandoned, number)
            self._changed.notify_all()

    def abandoned(self, number: int) -> bool:
        """Whether nobody waits for a job any more."""
        with self._changed:
            return self._closed or self._abandoned >= number

    def take(self, after: int, seconds: float) -> Numbered | None:
        """The job that comes after the one of this number, for one of its workers.

        Raises:
            Closed: none will come.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._is_after(after), seconds)
            self._check_open()
            return self._at if self._is_after(after) else None

    def again(self, **changes: Any) -> None:
        """Give the job that is not done out once more, to new workers, with these changes."""
        with self._changed:
            if self._at is not None:
                self._at = Numbered(self._at.number, {**self._at.job, **changes})
                self._news, self._decisions = None, []

    def reach(self, number: int, rung: Any) -> None:
        """Tell the numbers at a rung, rank 0's task; `decision` follows."""
        self._tell(News(number, rung=rung))

    def decision(self, number: int, passed: int, seconds: float) -> bool | None:
        """Whether a job goes on from the rung that it has come to as its `passed`-th, from 1, for each of its workers.

        False where nobody waits for the job any more.
        """
        with self._changed:
            self._changed.wait_for(lambda: self.abandoned(number) or len(self._decisions) >= passed, seconds)
            if self.abandoned(number):
                return False
            return self._decisions[passed - 1] if len(self._decisions) >= passed else None

    def give(self, number: int, answer: Any) -> None:
        """Answer a job, rank 0's task; it is done with that."""
        self._tell(News(number, answer=answer))

    @property
    def unanswered(self) -> Numbered | None:
        """The job that is not done."""
        with self._changed:
            return self._at

    @property
    def closed(self) -> bool:
        """Whether nobody does jobs any more."""
        return self._closed

    def close(self) -> None:
        """Let nobody wait any longer."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _tell(self, news: News) -> None:
        with self._changed:
            if self._at is None or self._at.number != news.number:
                return  # a worker that was given up
            self._news = news
            self._at = self._at if news.answer is None else None
            self._changed.notify_all()

    def _is_news(self, number: int) -> bool:
        return self._news is not None and self._news.number == number

    def _is_after(self, number: int) -> bool:
        return self._at is not None and self._at.number > number

    def _check_open(self) -> None:
        if self._closed:
            raise Closed
