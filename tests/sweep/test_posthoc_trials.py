"""The second phase of a sweep, without Ray: outcomes as they come, and those of a process that died."""

from collections import deque
from typing import Any

import pytest
import ray

from omsweep.sweep import posthoc_trials

SAMPLES = [{"trial_id": f"p+line-{n}"} for n in range(3)]


class Events:
    """Notes what a sweep's events would be told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str, Any]] = []

    def start(self, sample: dict[str, Any]) -> None:
        self.told.append(("start", sample["trial_id"], None))

    def end(self, sample: dict[str, Any], outcome: dict[str, Any]) -> None:
        self.told.append(("end", sample["trial_id"], outcome))


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
    running: dict[Any, deque[Any]] = {stream: deque(SAMPLES)}
    while running:
        posthoc_trials._take_next(running, events)  # type: ignore[arg-type]
    assert [(what, of[-1], (told or {}).get("state")) for what, of, told in events.told] == [
        *(("end", "0", "completed"), ("start", "1", None)),
        *(("end", "1", "failed"), ("start", "2", None)),
        ("end", "2", "completed"),
    ]


@pytest.mark.usefixtures("got")
def test_the_points_a_dead_process_had_to_make_have_failed() -> None:
    events = Events()
    stream = iter([{"state": "completed"}, ray.exceptions.WorkerCrashedError()])
    running: dict[Any, deque[Any]] = {stream: deque(SAMPLES)}
    while running:
        posthoc_trials._take_next(running, events)  # type: ignore[arg-type]
    ends = [(of, told) for what, of, told in events.told if what == "end"]
    assert [of for of, _ in ends] == [sample["trial_id"] for sample in SAMPLES]
    assert [told["state"] for _, told in ends] == ["completed", "failed", "failed"]
    assert "WorkerCrashedError" in ends[-1][1]["error"]
