"""What the driver sees of running trials: losses, that they are trained, that they hang."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from omsweep.engine import watching
from omsweep.engine.watching import Watch
from omsweep.strict_json import write_json
from omsweep.trial import progress
from omsweep.trial.progress import Place, ProgressWriter, alive, alive_file, note_place, progress_file
from omsweep.trial.session import trained_note


class Noted:
    """Attempts and events at once."""

    def __init__(self) -> None:
        self.told: list[Any] = []
        self.runs = ["a"]

    attempt = 1

    def running(self) -> list[str]:
        return self.runs

    def state_of(self, trial_id: str) -> Any:
        return SimpleNamespace(attempt=self.attempt)

    def note_losses(self, *told: Any) -> None:
        self.told.append(told)

    def note_trained(self, trial_id: str, outcome: Any) -> None:
        self.told.append((trial_id, "trained", outcome))

    def kill(self, trial_id: str, place: Place, why: str) -> None:
        self.told.append((trial_id, place.attempt, why))


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def noted() -> Any:
    return Noted()


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_losses_and_the_end_of_training_are_noted(
    noted: Any, clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "SECONDS", 0.0)
    watch = Watch(noted, noted, tmp_path, None, clock)
    watch.look()
    write = ProgressWriter(progress_file(tmp_path, "a"))
    write(1, {"loss": 0.7})
    watch.look()
    watch.look()
    write_json(trained_note(tmp_path, "a"), {"spec": {}, "outcome": {"steps": 1}})
    watch.look()
    assert noted.told == [("a", 1, [0.7]), ("a", "trained", {"steps": 1})]


def test_a_trial_that_takes_too_long_hangs_from_when_it_was_seen(noted: Any, clock: Clock, tmp_path: Path) -> None:
    watch = Watch(noted, noted, tmp_path, 60.0, clock)
    watch.look()
    clock.now = 1000.0
    note_place(tmp_path, "a", Place(1, "node", 7))
    watch.look()
    clock.now = 1059.0
    watch.look()
    noted.attempt = 2
    watch.look()
    clock.now = 2000.0
    watch.look()  # the next attempt has not begun: nobody knows its process
    note_place(tmp_path, "a", Place(2, "node", 8))
    watch.look()
    clock.now = 2059.0
    watch.look()
    assert noted.told == []
    clock.now = 2060.0
    watch.look()
    assert noted.told == [("a", 2, "not ended after train.trial_timeout, 60 s")]


def test_a_trial_without_a_sign_of_life_hangs(noted: Any, clock: Clock, tmp_path: Path) -> None:
    watch = Watch(noted, noted, tmp_path, None, clock)
    note_place(tmp_path, "a", Place(1, "node", 7))
    watch.look()
    clock.now = 10_000.0
    watch.look()  # its worker group may take as long as it likes to start
    with alive(tmp_path, "a"):
        pass
    watch.look()
    clock.now += watching.SILENT_SECONDS - 1
    watch.look()
    alive_file(tmp_path, "a").write_text("another beat")
    watch.look()
    clock.now += watching.SILENT_SECONDS - 1
    watch.look()
    assert noted.told == []
    clock.now += 1
    watch.look()
    assert noted.told == [("a", 1, f"no sign of life for {watching.SILENT_SECONDS:g} s")]


def test_a_living_process_writes_another_number_each_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    monkeypatch.setattr(progress, "BEAT_SECONDS", 0.01)
    seen = set()
    with alive(tmp_path, "a"):
        deadline = time.monotonic() + 10
        while len(seen) < 3 and time.monotonic() < deadline:
            if alive_file(tmp_path, "a").is_file():
                seen.add(alive_file(tmp_path, "a").read_text())
    assert len(seen - {""}) >= 2
