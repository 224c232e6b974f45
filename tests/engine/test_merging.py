"""The second phase of a sweep, without Ray: outcomes as they come, and those of a process that died."""

from collections import deque
from dataclasses import replace
from typing import Any

import pytest
import ray

from omsweep.engine import merging
from omsweep.engine.merging import MergeJob
from omsweep.store.records import Outcome, Prepared, TrialRecord, TrialSpec

SPECS = [TrialSpec(trial_id=f"p+line-{n}", family="f") for n in range(3)]
JOB = MergeJob(
    parent=TrialRecord(trial_id="p", family="f", state="completed"),
    prepared=Prepared(base="b", sft="s", weights_hash="ab", dtype="float32"),
    folder="there",
    specs=SPECS,
)
DONE, BROKEN = Outcome(state="completed"), Outcome(state="failed", error="E")


class Events:
    """Notes what a sweep's events would be told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str, str | None]] = []
        self.error: str | None = None

    def start(self, spec: TrialSpec) -> None:
        self.told.append(("start", spec.trial_id, None))

    def end(self, spec: TrialSpec, outcome: Outcome) -> None:
        self.told.append(("end", spec.trial_id, outcome.state))
        self.error = outcome.error


def drain(stream: Any, events: Events) -> deque[MergeJob]:
    """Take every outcome of one task; returns the jobs that wait after it."""
    running: merging.Running = {stream: (JOB, deque(SPECS))}
    waiting: deque[MergeJob] = deque()
    while running:
        merging._take_next(running, waiting, events)  # type: ignore[arg-type]
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
    events, stream = Events(), iter([DONE, BROKEN, DONE])
    drain(stream, events)
    assert [(what, of[-1], state) for what, of, state in events.told] == [
        *(("end", "0", "completed"), ("start", "1", None)),
        *(("end", "1", "failed"), ("start", "2", None)),
        ("end", "2", "completed"),
    ]


@pytest.mark.usefixtures("got")
def test_a_dead_process_costs_the_point_it_was_at_and_the_rest_wait_for_another() -> None:
    events = Events()
    waiting = drain(iter([ray.exceptions.WorkerCrashedError()]), events)
    assert events.told == [("end", "p+line-0", "failed")]
    assert "WorkerCrashedError" in str(events.error)
    assert list(waiting) == [replace(JOB, specs=tuple(SPECS[1:]))]


@pytest.mark.usefixtures("got")
def test_a_process_that_dies_at_its_last_point_leaves_nothing() -> None:
    events = Events()
    outcomes = [DONE, DONE, ray.exceptions.WorkerCrashedError()]
    assert not drain(iter(outcomes), events)
    assert [state for what, _, state in events.told if what == "end"] == ["completed", "completed", "failed"]
