"""The second phase of a sweep, without Ray: outcomes as they come, and those of a process that died."""

from collections import deque
from dataclasses import replace
from typing import Any

import pytest
import ray

from omsweep.engine import merging
from omsweep.engine.executor import MergeJob
from omsweep.plan.attempts import Job
from omsweep.store.records import Outcome, Prepared, TrialRecord, TrialSpec

SPECS = [TrialSpec(trial_id=f"p+line-{n}", family="f") for n in range(3)]
JOB = MergeJob(
    parent=TrialRecord(trial_id="p", family="f", state="completed"),
    prepared=Prepared(base="b", sft="s", weights_hash="ab", dtype="float32"),
    folder="there",
    specs=SPECS,
)
DONE, BROKEN = Outcome(state="completed"), Outcome(state="failed", error="E")


class Attempts:
    """Notes what the attempts of a sweep would be told; a lost one is tried again once."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str, str | None]] = []
        self.lost: list[str] = []

    def job(self, trial_id: str) -> Job:
        return Job(TrialSpec(trial_id=trial_id, family="f"), 1)

    def start(self, job: Job) -> None:
        self.told.append(("start", job.spec.trial_id, None))

    def end(self, trial_id: str, outcome: Outcome) -> bool:
        if outcome.reason and trial_id not in self.lost:
            self.lost.append(trial_id)
            return False
        self.told.append(("end", trial_id, outcome.state))
        return True


def drain(stream: Any, attempts: Attempts) -> deque[MergeJob]:
    """Take every outcome of one task; returns the jobs that wait after it."""
    running: merging.Running = {stream: (JOB, deque(SPECS))}
    waiting: deque[MergeJob] = deque()
    while running:
        merging._take_next(running, waiting, attempts)  # type: ignore[arg-type]
    return waiting


@pytest.fixture
def got(monkeypatch: pytest.MonkeyPatch) -> None:
    def get(reference: Any) -> Any:
        if isinstance(reference, Exception):
            raise reference
        return reference

    monkeypatch.setattr(ray, "get", get)
    monkeypatch.setattr(ray, "wait", lambda streams, num_returns: (streams[:num_returns], streams[num_returns:]))


@pytest.mark.usefixtures("got")
def test_each_outcome_ends_its_point_and_starts_the_next() -> None:
    attempts, stream = Attempts(), iter([DONE, BROKEN, DONE])
    drain(stream, attempts)
    assert [(what, of[-1], state) for what, of, state in attempts.told] == [
        *(("end", "0", "completed"), ("start", "1", None)),
        *(("end", "1", "failed"), ("start", "2", None)),
        ("end", "2", "completed"),
    ]


@pytest.mark.usefixtures("got")
def test_the_point_at_which_a_process_died_waits_with_the_rest_for_another() -> None:
    attempts = Attempts()
    waiting = drain(iter([DONE, ray.exceptions.WorkerCrashedError()]), attempts)
    assert attempts.lost == ["p+line-1"]
    assert [of for what, of, _ in attempts.told if what == "end"] == ["p+line-0"]
    assert list(waiting) == [replace(JOB, specs=tuple(SPECS[1:]))]


@pytest.mark.usefixtures("got")
def test_a_point_that_dies_for_good_costs_no_other() -> None:
    attempts = Attempts()
    attempts.lost = ["p+line-0"]
    waiting = drain(iter([ray.exceptions.WorkerCrashedError()]), attempts)
    assert attempts.told == [("end", "p+line-0", "failed")]
    assert list(waiting) == [replace(JOB, specs=tuple(SPECS[1:]))]


def test_a_lost_point_ends_its_task() -> None:
    """What follows is made by another: the points wait together."""

    def points(*_: object) -> Any:
        return lambda spec: Outcome(state="failed", reason="storage full" if spec.trial_id[-1] == "1" else None)

    assert [one.reason for one in merging._points_task(JOB, points)] == [None, "storage full"]
