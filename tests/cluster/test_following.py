"""A job's log is followed to its end, through connections that drop and clusters that do not answer."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from ray.job_submission import JobStatus

from omsweep.cluster import following
from tests.cluster.stand_in import Cluster

DROPPED = RuntimeError("WebSocket connection closed unexpectedly with close code 1006")
REFUSED = ConnectionError("refused")


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "POLL_SECONDS", 0.0)


def followed(cluster: Any) -> tuple[str, list[str], JobStatus]:
    """What was written of the log, what was said, and how the job ended."""
    written: list[str] = []
    said: list[str] = []
    status = following.follow(cluster, "job", written.append, said.append, again="look again")
    return "".join(written), said, status


def test_a_dropped_connection_is_taken_up_where_it_broke() -> None:
    attempts = [["a1\n", "a2\n", DROPPED], [DROPPED], ["a1\na2\nb1\n"], ["a1\n", "a2\nb1\n", "b2\n"]]
    assert followed(Cluster(attempts, JobStatus.SUCCEEDED)) == ("a1\na2\nb1\nb2\n", [], JobStatus.SUCCEEDED)


def test_a_cluster_that_is_away_for_long_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Formerly it was given up after two minutes."""
    clock = iter(range(0, 10_000, 25))
    pauses: list[float] = []
    monkeypatch.setattr(following.time, "monotonic", lambda: next(clock))
    monkeypatch.setattr(following.time, "sleep", pauses.append)
    monkeypatch.setattr(following, "POLL_SECONDS", 1.0)
    broken = [[REFUSED] for _ in range(8)]
    cluster = Cluster([["a\n", REFUSED], *broken, ["a\nb\n"]], JobStatus.FAILED, away=[REFUSED] * 8)
    written, said, status = followed(cluster)
    assert (written, status) == ("a\nb\n", JobStatus.FAILED)
    assert [text.partition("\n")[0] for text in said] == [
        "no answer from http://head:8265: trying again; Ctrl-C detaches, the job goes on",
        "still no answer after 120 s. The job may go on; to look later:",
        "http://head:8265 answers again",
    ]
    assert said[1].endswith("look again")
    assert pauses[:6] == [2.0, 4.0, 8.0, 16.0, 30.0, 30.0]
    assert pauses[8] == 1.0


def test_a_cluster_that_never_answers_is_given_up_at_last(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(0, 100_000, 500))
    monkeypatch.setattr(following.time, "monotonic", lambda: next(clock))
    cluster = Cluster([[REFUSED]] * 20, JobStatus.RUNNING, away=[REFUSED] * 20)
    with pytest.raises(ConnectionError, match="refused"):
        followed(cluster)
    assert next(clock) > following.LONGEST_SECONDS


def test_a_job_that_the_cluster_does_not_know_is_not_waited_for() -> None:
    unknown = RuntimeError("Request failed with status code 404: Job job does not exist.")
    with pytest.raises(RuntimeError, match="does not exist"):
        followed(Cluster([[DROPPED]], JobStatus.RUNNING, away=[unknown]))


def test_a_connection_that_is_gone_without_a_word_is_made_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """Formerly such a log was listened to for ever."""
    monkeypatch.setattr(following, "QUIET_SECONDS", 0.05)

    class Mute(Cluster):
        async def tail_job_logs(self, job_id: str) -> AsyncIterator[str]:
            async for chunk in super().tail_job_logs(job_id):
                yield chunk
            if self.attempts:
                await asyncio.sleep(60)

    assert followed(Mute([["a\n"], ["a\nb\n"]], JobStatus.SUCCEEDED))[0] == "a\nb\n"


def test_the_log_of_a_node_that_is_gone_does_not_hold_up_the_end() -> None:
    attempts = [["a\n", DROPPED], *[[DROPPED]] * following.LAST_TRIES]
    cluster = Cluster(attempts, JobStatus.FAILED)
    cluster.get_job_status = lambda job_id: JobStatus.FAILED  # type: ignore[method-assign]
    assert followed(cluster) == ("a\n", [], JobStatus.FAILED)
    assert cluster.attempts == []
