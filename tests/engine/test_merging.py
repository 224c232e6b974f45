"""The second phase of a sweep, without Ray: outcomes as they come, and those of a process that died."""

from collections import deque
from typing import Any

import pytest
import ray

from omsweep.engine import merging as posthoc_trials

SAMPLES = [{"trial_id": f"p+line-{n}"} for n in range(3)]


class Events:
    """Notes what a sweep's events would be told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str, Any]] = []

    def start(self, sample: dict[str, Any]) -> None:
        self.told.append(("start", sample["trial_id"], None))

    def end(self, sample: dict[str, Any], outcome: dict[str, Any]) -> None:
        self.told.append(("end", sample["trial_id"], outcome))


def drain(stream: Any, events: Events) -> deque[dict[str, Any]]:
    """Take every outcome of one task; returns the jobs that wait after it."""
    running: posthoc_trials.Running = {stream: ({"samples": SAMPLES, "parent": "p"}, deque(SAMPLES))}
    waiting: deque[dict[str, Any]] = deque()
    while running:
        posthoc_trials._take_next(running, waiting, events)  # type: ignore[arg-type]
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
    events, stream = Events(), iter([{"state": "completed"}, {"state": "failed", "error": "E"}, {"state": "completed"}])
    drain(stream, events)
    assert [(what, of[-1], (told or {}).get("state")) for what, of, told in events.told] == [
        *(("end", "0", "completed"), ("start", "1", None)),
        *(("end", "1", "failed"), ("start", "2", None)),
        ("end", "2", "completed"),
    ]


@pytest.mark.usefixtures("got")
def test_a_dead_process_costs_the_point_it_was_at_and_the_rest_wait_for_another() -> None:
    events = Events()
    waiting = drain(iter([ray.exceptions.WorkerCrashedError()]), events)
    assert [(what, of, (told or {}).get("state")) for what, of, told in events.told] == [("end", "p+line-0", "failed")]
    assert "WorkerCrashedError" in events.told[0][2]["error"]
    assert list(waiting) == [{"samples": SAMPLES[1:], "parent": "p"}]


@pytest.mark.usefixtures("got")
def test_a_process_that_dies_at_its_last_point_leaves_nothing() -> None:
    events = Events()
    outcomes = [{"state": "completed"}, {"state": "completed"}, ray.exceptions.WorkerCrashedError()]
    assert not drain(iter(outcomes), events)
    assert [told["state"] for what, _, told in events.told if what == "end"] == ["completed", "completed", "failed"]
