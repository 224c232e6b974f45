"""Drivers that are real processes on a real Ray: killed at a write, two at once, frozen and woken."""

import os
import re
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from omsweep.store.lease import SILENT_SECONDS
from tests.descendants import Descendants, descendants, say, wait_for
from tests.driven_sweep import DrivenSweep, found, until
from tests.engine.test_kill import COMPARE

pytestmark = [pytest.mark.campaign, pytest.mark.timeout(1800)]

POINTS = int(os.environ.get("OMSWEEP_CAMPAIGN_POINTS", "12"))
FROZEN_SECONDS = 90.0
REAL = COMPARE | {
    "train": {"steps": 12, "batch_size": 8, "backend": "inprocess", "checkpoint_every": 4},
    "evaluate": {"limit": 4, "samples": 1, "max_new_tokens": 8},
}
SLOW = COMPARE | {
    "design": {"blocks": 2, "seeds": 2},
    "train": {"steps": 150, "batch_size": 8, "backend": "inprocess", "checkpoint_every": 10},
}


def test_killed_at_a_write(tmp_path: Path) -> None:
    with descendants() as ours:
        whole = DrivenSweep(ours, tmp_path / "whole", REAL)
        counted = tmp_path / "counted"
        assert whole.run(under=str(whole.storage / "s"), counted=str(counted)) == 0, whole.said()
        expected, calls = found(whole.storage), int(counted.read_text())
        for point in range(POINTS):
            code = 0
            while code == 0:  # losses are written together where they come fast: a quicker sweep makes fewer calls
                dies_at = 1 + round(0.93 * calls * (point + 0.5) / POINTS)
                sweep = DrivenSweep(ours, tmp_path / f"{point}-{dies_at}", REAL)
                begun = time.monotonic()
                code = sweep.run(under=str(sweep.storage / "s"), dies_at=dies_at, counted=str(counted))
                calls = int(counted.read_text()) if code == 0 else calls
            assert code == -signal.SIGKILL, sweep.said()
            events = len(sweep.events) if sweep.state else 0
            assert sweep.run() == 0, sweep.said()
            sweep.check_whole(expected)
            sweep.check_mlflow(f"sqlite:///{sweep.storage / 'mlflow.db'}")
            say(f"killed at call {dies_at} of {calls}, after event {events}: whole, {time.monotonic() - begun:.0f} s")


def working(state: Any) -> bool:
    """Whether a trial is in the middle of its steps."""
    return any(one.phase == "started" and one.steps >= 20 for one in state.trials.values())


@pytest.fixture(scope="module")
def slow_whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What an undisturbed sweep of `SLOW` finds."""
    with descendants() as ours:
        whole = DrivenSweep(ours, tmp_path_factory.mktemp("slow") / "whole", SLOW)
        assert whole.run(work="steps") == 0, whole.said()
        return found(whole.storage)


def test_of_two_drivers_one_runs_and_the_other_names_it(tmp_path: Path, slow_whole: dict[str, Any]) -> None:
    with descendants() as ours:
        sweep, said = DrivenSweep(ours, tmp_path / "sweep", SLOW), tmp_path / "second"
        first = sweep.start(work="steps")
        wait_for("a step", until(working, sweep), 240, sweep.output)
        assert sweep.start(said, work="steps").wait(timeout=120) == 2, said.read_text()
        (line,) = [line for line in said.read_text().splitlines() if line.startswith("omsweep: ")]
        say(line)
        assert re.search(rf"sweep s in {sweep.storage}: another driver runs this sweep: .*\b{first.pid}\b", line)
        assert first.wait(timeout=300) == 0, sweep.said()
        sweep.check_whole(slow_whole)
        assert {one.attempt for one in sweep.state.trials.values()} == {1}


def freeze(sweep: DrivenSweep, ours: Descendants, tmp_path: Path) -> tuple[int, int, str]:
    """Freeze the first driver until another has taken over and works; exit statuses of both, what the first said."""
    said = tmp_path / "frozen"
    first = sweep.start(said, work="steps", machine="one")
    wait_for("a step", until(working, sweep), 240, said)
    os.kill(first.pid, signal.SIGSTOP)
    frozen = time.monotonic()
    second = sweep.start(work="steps", machine="other")
    wait_for("the other's event", until(lambda state: state.epoch == 2, sweep), 240, sweep.output)
    say(f"taken over after {time.monotonic() - frozen:.0f} s")
    assert time.monotonic() - frozen > SILENT_SECONDS
    wait_for("a step", until(working, sweep), 240, sweep.output)
    time.sleep(max(0.0, FROZEN_SECONDS - (time.monotonic() - frozen)))
    os.kill(first.pid, signal.SIGCONT)
    say(f"woken after {time.monotonic() - frozen:.0f} s")
    return first.wait(timeout=120), second.wait(timeout=600), said.read_text()


def test_a_driver_that_was_frozen_writes_nothing_that_counts(tmp_path: Path, slow_whole: dict[str, Any]) -> None:
    with descendants() as ours:
        sweep = DrivenSweep(ours, tmp_path / "sweep", SLOW)
        first, second, said = freeze(sweep, ours, tmp_path)
        assert (first, second) == (1, 0), said + sweep.said()
        assert "this driver was silent and the sweep was taken over" in said
        say(next(line for line in said.splitlines() if "taken over" in line))
        sweep.check_whole(slow_whole)
        sweep.check_mlflow(f"sqlite:///{sweep.storage / 'mlflow.db'}")
        assert [event.epoch for event in sweep.events] == sorted(event.epoch for event in sweep.events)
        ends = Counter((event.epoch, event.trial_id) for event in sweep.events if event.kind == "ended")
        assert set(ends.values()) == {1}
