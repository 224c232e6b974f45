"""Seeded random kills of whatever a sweep on this machine is made of; the same command again ends it as if undisturbed.

16 trials for each backend. A kill comes when a random part of all steps is done, so that all of them hit a sweep at
work. Trials in process are stand-ins that take their time; worker groups train.
"""

import os
import random
import re
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.descendants import Descendants, descendants, say, wait_for
from tests.driven_sweep import DrivenSweep, found
from tests.mlflow_server import MlflowServer, free_port

pytestmark = [pytest.mark.campaign, pytest.mark.timeout(3600)]

KILLS = int(os.environ.get("OMSWEEP_CAMPAIGN_KILLS", "50"))
"""For each backend; set lower for a look."""
TRIALS, SEED = 16, 7
LAST = 0.88
"""Share of all steps at which the last kill comes: what is left must last until it is made."""
TRIES = 2
"""How often a trial may lose its process under one driver and be tried again."""
END_SECONDS = 120.0
SPACE: dict[str, Any] = {
    "name": "kills",
    "mode": "compare",
    "families": ["tiny-llama"],
    "space": {
        "algorithm": "dpo",
        "learning_rate": {"loguniform": [3e-4, 8e-4]},
        "beta": 0.1,
        "method": {"adamw": {}, "ondare": {"semantics": "equations", "tau_travel": 0.05, "density": 0.5}},
    },
    "design": {"blocks": 4, "seeds": 2, "match": "none"},
    "evaluate": {"limit": 4, "samples": 1, "max_new_tokens": 8},
}


class Backend(NamedTuple):
    """How a sweep runs, and what its processes are called: a pattern of their titles by kind of kill."""

    train: Mapping[str, Any]
    conditions: Mapping[str, str]
    titles: Mapping[str, str]


HEAD = r"/gcs_server |/raylet/raylet "
BACKENDS = {
    "inprocess": Backend(
        {"steps": 60, "batch_size": 8, "backend": "inprocess", "checkpoint_every": 5},
        {"work": "steps"},
        {"session": r"^ray::.*ResourceTrainable", "head": HEAD},
    ),
    "train": Backend(
        {"steps": 24, "batch_size": 8, "backend": "train", "checkpoint_every": 4},
        {},
        {
            "session": r"^ray::.*ResourceTrainable",
            "group": r"^ray::.*WorkerGroup",
            "worker": r"^ray::.*RayTrainWorker",
            "head": HEAD,
        },
    ),
}
ENDS_THE_DRIVER = ("driver", "head")


class Kills:
    """Kills by a seeded plan, each when its part of the sweep's steps is done.

    Args:
        sweep: to disturb.
        backend: how it runs.
        ours: its processes.
        server: its MLflow's.
    """

    def __init__(self, sweep: DrivenSweep, backend: Backend, ours: Descendants, server: MlflowServer) -> None:
        self._sweep, self._backend, self._ours, self._server = sweep, backend, ours, server
        self._random = random.Random(SEED)
        kinds = ["driver", "mlflow", *backend.titles]
        self._left = [kinds[n % len(kinds)] for n in range(KILLS)]
        self._random.shuffle(self._left)
        self._moments = [LAST * (n + self._random.random()) / KILLS for n in range(KILLS)]
        self.done: Counter[str] = Counter()
        self.codes: Counter[int] = Counter()

    def all(self) -> None:
        """Make every kill, then let the sweep end."""
        driver = self._started()
        for moment in self._moments:
            wait_for("a step", lambda at=moment: self._share_done() >= at, 600, self._sweep.output)
            time.sleep(self._random.uniform(0, 1.5))
            kind = wait_for("something to kill", partial(self._killed, driver), 300, self._sweep.output)
            self.done[kind] += 1
            say(f"kill {self.done.total()} of {KILLS}: {kind} at {self._share_done():.0%} of all steps")
            if kind in ENDS_THE_DRIVER:
                self.codes[driver.wait(timeout=END_SECONDS)] += 1
                driver = self._started()
        self._server.wait()
        assert driver.wait(timeout=1200) == 0, self._sweep.said()

    def _started(self) -> "subprocess.Popen[bytes]":
        return self._sweep.start(**self._backend.conditions)

    def _share_done(self) -> float:
        steps = int(self._backend.train["steps"])
        trials = self._sweep.state.trials.values()
        return sum(steps if one.outcome else one.steps for one in trials) / (steps * TRIALS)

    def _killed(self, driver: "subprocess.Popen[bytes]") -> str | None:
        """Kill the first of the plan that is there, and say its kind."""
        assert driver.poll() is None, f"the driver ended with {driver.returncode}: {self._sweep.said()}"
        for n, kind in enumerate(self._left):
            if self._kill(kind, driver):
                return self._left.pop(n)
        if self._most_lost() >= TRIES:  # what is left of the plan would fail a trial for good: the driver in its place
            self._left.pop()
            self._kill("driver", driver)
            return "driver"
        return None

    def _kill(self, kind: str, driver: "subprocess.Popen[bytes]") -> bool:
        if kind == "driver":
            driver.kill()
        elif kind == "mlflow":
            self._server.kill()
            self._server.start()
        else:
            pattern = re.compile(self._backend.titles[kind])
            there = sorted(pid for pid, title in self._ours.below(driver.pid).items() if pattern.search(title))
            if not there or (kind != "head" and not self._may_lose_a_process()):
                return False
            with suppress(ProcessLookupError):
                os.kill(self._random.choice(there), signal.SIGKILL)
        return True

    def _may_lose_a_process(self) -> bool:
        """Whether a trial runs, and neither it nor one that waits for its next attempt would fail for good."""
        running = any(one.phase in ("started", "trained") for one in self._sweep.state.trials.values())
        return running and self._most_lost() < TRIES

    def _most_lost(self) -> int:
        """How often a trial that has not ended has lost its process under this driver, the most of them."""
        state = self._sweep.state
        left = [one.lost for one in state.trials.values() if one.outcome is None]
        return max(
            (sum((one.reason, one.epoch) == ("process lost", state.epoch) for one in lost) for lost in left), default=0
        )


@pytest.mark.parametrize("name", BACKENDS)
def test_random_kills_lose_nothing_and_double_nothing(name: str, tmp_path: Path) -> None:
    backend, port = BACKENDS[name], free_port()
    made = SPACE | {"train": dict(backend.train)}
    with descendants() as ours:
        whole = DrivenSweep(ours, tmp_path / "whole", made)
        begun = time.monotonic()
        assert whole.run(**backend.conditions) == 0, whole.said()
        say(f"undisturbed: {time.monotonic() - begun:.0f} s")
        server = MlflowServer(f"sqlite:///{tmp_path / 'mlflow.db'}", port, tmp_path)
        try:
            server.start()
            server.wait()
            sweep = DrivenSweep(ours, tmp_path / "killed", made, server.uri)
            begun, kills = time.monotonic(), Kills(sweep, backend, ours, server)
            kills.all()
            sweep.check_mlflow(server.uri)
        finally:
            server.kill()
        seconds = time.monotonic() - begun
        expected = found(whole.storage)
        assert len(expected["records"]) == TRIALS
        ends = Counter(event.trial_id for event in sweep.events if event.kind == "ended")
        lost, doubled = TRIALS - len(ends), ends.total() - len(ends)
        attempts = sum(one.attempt for one in sweep.state.trials.values())
        say(
            f"{name}: {kills.done.total()} kills in {seconds:.0f} s {dict(kills.done)}, lost {lost}, doubled {doubled},"
            f" {attempts} attempts, drivers ended with {dict(kills.codes)}"
        )
        sweep.check_whole(expected)
