"""A machine that is short of memory or of disk in the middle of a sweep."""

import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from ray._private.utils import get_system_memory, get_used_memory

from tests.descendants import descendants, say, wait_for
from tests.driven_sweep import DrivenSweep, until
from tests.driver_process import HUNGRY_GIB

pytestmark = [pytest.mark.campaign, pytest.mark.timeout(900)]

DISK = "28m"
SPARE_GIB = 0.5 * HUNGRY_GIB
SPACE: dict[str, Any] = {
    "name": "short",
    "mode": "compare",
    "families": ["tiny-llama"],
    "space": {
        "algorithm": "dpo",
        "learning_rate": 4e-4,
        "beta": 0.1,
        "method": {
            "adamw": {},
            "ondare": {"semantics": "equations", "tau_travel": 0.05, "density": 0.5},
            "onties": {"semantics": "equations", "alpha": 1e-3, "density": 0.5},
            "slow": {"method": "adamw", "learning_rate": 3e-4},
        },
    },
    "design": {"blocks": 1, "match": "none"},
    "train": {"steps": 60, "batch_size": 8, "backend": "inprocess", "checkpoint_every": 10},
}


def states(sweep: DrivenSweep) -> dict[str, tuple[str, int]]:
    """State and attempts of each trial by its label."""
    return {str(one.label): (one.state, one.attempts) for one in sweep.folder.trials()}


def test_a_trial_without_end_of_memory_fails_alone_after_a_try_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit = get_used_memory() + (SPARE_GIB + 2) * 2**30
    monkeypatch.setenv("RAY_memory_usage_threshold", f"{limit / get_system_memory():.3f}")
    monkeypatch.setenv("RAY_memory_monitor_refresh_ms", "100")
    with descendants() as ours:
        sweep = DrivenSweep(ours, tmp_path / "sweep", SPACE)
        begun = time.monotonic()
        assert sweep.run(work="hungry") == 0, sweep.said()
        by_label = {str(one.label): one for one in sweep.folder.trials()}
        say(f"{time.monotonic() - begun:.0f} s: {states(sweep)}; {by_label['ondare'].error}")
        assert {label: one.state for label, one in by_label.items()} == {
            "adamw": "completed",
            "ondare": "failed",
            "onties": "completed",
            "slow": "completed",
        }
        reasons = {one.fields["label"]: [lost.reason for lost in one.lost] for one in sweep.state.trials.values()}
        assert reasons["ondare"] == ["out of memory"] * 2
        assert str(by_label["ondare"].error).startswith("out of memory: Ray killed the trial's process")
        happened = [(one.kind, one.trial_id) for one in sweep.events if one.kind in ("started", "lost", "ended")]
        hungry = by_label["ondare"].trial_id
        again = max(n for n, one in enumerate(happened) if one == ("started", hungry))
        assert happened[again:][:3] == [("started", hungry), ("lost", hungry), ("ended", hungry)]
        begun_before = Counter(kind for kind, trial_id in happened[:again] if trial_id != hungry)
        assert begun_before["started"] == begun_before["lost"] + begun_before["ended"]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own with what a sweep asks for beforehand, and little else."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("needs the command mount")
    if mounted.returncode:
        pytest.skip(f"needs the right to mount: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """A file that takes all the room there is."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))
    return ballast


def test_a_full_disk_is_waited_for(small_disk: Path, tmp_path: Path) -> None:
    """Neither the log nor a trial's own files find room."""
    with descendants() as ours:
        sweep = DrivenSweep(ours, small_disk / "sweep", SPACE, f"sqlite:///{tmp_path / 'mlflow.db'}")
        sweep.output = tmp_path / "output"
        driver = sweep.start(work="steps")
        wait_for("a trial", until(lambda state: any(one.steps > 10 for one in state.trials.values()), sweep), 240)
        ballast = fill(small_disk)
        wait_for("the sentence", lambda: "No space left" in sweep.said(), 120, sweep.output)
        time.sleep(20)
        assert driver.poll() is None, sweep.said()
        ballast.unlink()
        assert driver.wait(timeout=240) == 0, sweep.said()
        say(f"{states(sweep)}: " + "; ".join(line for line in sweep.said().splitlines() if "storage" in line))
        assert {state for state, _ in states(sweep).values()} == {"completed"}
        assert "the sweep waits until its storage takes events again" in sweep.said()
        assert "the storage takes events again, the sweep goes on" in sweep.said()
        sweep.check_mlflow(f"sqlite:///{tmp_path / 'mlflow.db'}")
