"""Sweeps on clusters of several nodes that come and go: a head without CPUs and nodes beside it, on this machine."""

import itertools
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import ray
import yaml
from ray._raylet import GcsClient
from ray.core.generated import autoscaler_pb2
from ray.util.state import list_actors, list_placement_groups

from omsweep.align.settings import WHOLE
from omsweep.store.state import SweepState
from omsweep.trial.progress import progress_file
from tests.descendants import Descendants, descendants, say, wait_for
from tests.driven_sweep import DrivenSweep, found
from tests.mlflow_server import free_port

pytestmark = [pytest.mark.campaign, pytest.mark.timeout(1800)]

SEEDS = [int(seed) for seed in os.environ.get("OMSWEEP_CAMPAIGN_SEEDS", "1,2").split(",")]
KILLS, NODES, MOST_IDLE_SECONDS = 6, 3, 60.0
SPACE: dict[str, Any] = {
    "name": "nodes",
    "mode": "compare",
    "families": ["tiny-llama", "tiny-qwen2"],
    "space": {
        "algorithm": "dpo",
        "learning_rate": {"loguniform": [3e-4, 8e-4]},
        "beta": 0.1,
        "method": {"adamw": {}, "ondare": {"semantics": "equations", "tau_travel": 0.05, "density": 0.5}},
    },
    "design": {"blocks": 2, "seeds": 1, "match": "none"},
    "train": {"steps": 60, "batch_size": 8, "backend": "train", "checkpoint_every": 5, "max_failures": 2},
    "evaluate": {"limit": 4, "samples": 1, "max_new_tokens": 8},
}
IDLE_SECONDS = 15.0
STARTED = "Ray runtime started"
NODE = {"CPU": 1, "object_store_memory": 150_000_000}
AUTOSCALER: dict[str, Any] = {
    "cluster_name": "fake",
    "max_workers": NODES,
    "provider": {
        "type": "fake_multinode",
        "use_node_id_as_ip": True,
        "disable_node_updaters": True,
        "disable_launch_config_check": True,
    },
    "available_node_types": {
        "ray.head.default": {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0},
        "node": {"resources": NODE, "node_config": {}, "max_workers": NODES},
    },
    "head_node_type": "ray.head.default",
    "upscaling_speed": 1.0,
    "auth": {},
    "docker": {},
    "file_mounts": {},
    "file_mounts_sync_continuously": False,
    "cluster_synced_files": [],
    "rsync_exclude": [],
    "rsync_filter": [],
    **{f"{when}_commands": [] for when in ("initialization", "setup", "head_setup", "worker_setup")},
    **{f"{node}_start_ray_commands": [] for node in ("head", "worker")},
}
PREEMPTION = autoscaler_pb2.DrainNodeReason.Value("DRAIN_NODE_REASON_PREEMPTION")
RAYS_OWN = ("_AutoscalingCoordinatorActor", "TrainStateActor")
"""Detached actors of Ray's that all its jobs share."""


class Head:
    """A head that trains nothing, with a dashboard, listening on the loopback; its processes are `ours`."""

    def __init__(self, ours: Descendants, path: Path, *options: str, port: int = 0, **environment: str) -> None:
        path.mkdir()
        self._ours, self.log = ours, path / "ray.log"
        gcs, dashboard = port or free_port(), free_port()
        self.address, self.dashboard = f"127.0.0.1:{gcs}", f"http://127.0.0.1:{dashboard}"
        self.process = self.start(
            *("--head", f"--port={gcs}", f"--dashboard-port={dashboard}", "--num-cpus=0"),
            *(f"--temp-dir={tempfile.mkdtemp(prefix='ray-')}", *options),
            **environment,
        )
        wait_for("the head", lambda: STARTED in self.log.read_text(), 60, self.log)

    def start(self, *options: str, **environment: str) -> "subprocess.Popen[bytes]":
        """`ray start`, until it is ended."""
        command = [str(Path(sys.executable).parent / "ray"), "start", "--block", "--node-ip-address=127.0.0.1"]
        command += ["--object-store-memory=150000000", "--min-worker-port=0", "--max-worker-port=0", *options]
        return self._ours.start(command, self.log, **environment)

    @contextmanager
    def driver(self) -> Iterator[None]:
        """Inside, this process is connected."""
        ray.init(address=self.address, logging_level="ERROR")
        try:
            yield
        finally:
            ray.shutdown()

    def nodes(self) -> dict[str, str]:
        """Name and Ray's id of the nodes that are up; for a driver."""
        return {one["Labels"].get("name", "?"): one["NodeID"] for one in ray.nodes() if one["Alive"]}

    def left_behind(self) -> tuple[list[str], list[str]]:
        """Actors that live, but Ray's own, and placement groups that hold something."""
        where: dict[str, Any] = {"address": self.dashboard, "limit": 1000}
        actors = [one.class_name for one in list_actors(**where) if one.state != "DEAD"]
        groups = [one.placement_group_id for one in list_placement_groups(**where) if one.state != "REMOVED"]
        return [name for name in actors if name not in RAYS_OWN], groups


class Nodes(Head):
    """A head and so many nodes of one CPU each."""

    def __init__(self, ours: Descendants, path: Path, count: int) -> None:
        super().__init__(ours, path)
        self._made, self.up = 0, {}  # type: int, dict[str, subprocess.Popen[bytes]]
        for _ in range(count):
            self.join()

    def join(self) -> None:
        """Another node."""
        name, self._made = str(self._made), self._made + 1
        started = self.log.read_text().count(STARTED)
        self.up[name] = self.start(f"--address={self.address}", "--num-cpus=1", f"--labels=name={name}")
        wait_for("a node", lambda: self.log.read_text().count(STARTED) > started, 90, self.log)

    def lose(self, name: str) -> None:
        """Kill a node with all of its processes, at once."""
        node = self.up.pop(name)
        for pid in [node.pid, *self._ours.below(node.pid)]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        node.wait()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What an undisturbed sweep finds, on a Ray of its own."""
    with descendants() as ours:
        sweep = DrivenSweep(ours, tmp_path_factory.mktemp("whole") / "whole", SPACE)
        assert sweep.run() == 0, sweep.said()
        return found(sweep.storage)


def longest_pause(sweep: DrivenSweep) -> tuple[float, str]:
    """The longest time between two events of a sweep's trials, and the kind of the later one."""
    told = [event for event in sweep.events if event.kind in ("started", "progress", "trained", "lost", "ended")]
    return max((later.time - one.time, later.kind) for one, later in itertools.pairwise(told))


def at_work(state: SweepState) -> int:
    return sum(one.phase == "started" and one.steps > 0 for one in state.trials.values())


def steps_done(state: SweepState) -> int:
    return sum(one.steps for one in state.trials.values())


@pytest.mark.parametrize("seed", SEEDS)
def test_nodes_are_lost_and_join_and_no_trial_is_lost(tmp_path: Path, whole: dict[str, Any], seed: int) -> None:
    chance, all_steps = random.Random(seed), len(whole["records"]) * SPACE["train"]["steps"]
    with descendants() as ours:
        there = Nodes(ours, tmp_path / "ray", NODES)
        sweep = DrivenSweep(ours, tmp_path / "sweep", SPACE)
        driver = sweep.start(address=there.address)
        for kill in range(KILLS):
            at = all_steps * (kill + chance.random()) / (KILLS + 1)
            wait_for("a step", lambda at=at: steps_done(sweep.state) >= at, 600, sweep.output)
            assert driver.poll() is None, sweep.said()
            name = chance.choice(sorted(there.up))
            there.lose(name)
            say(f"node {name} lost at {steps_done(sweep.state)} of {all_steps} steps; {len(there.up)} left")
            time.sleep(chance.uniform(0.0, 8.0))
            there.join()
        assert driver.wait(timeout=900) == 0, sweep.said()
        sweep.check_whole(whole)
        pause, kind = longest_pause(sweep)
        attempts = {one.trial_id: one.attempt for one in sweep.state.trials.values()}
        say(f"seed {seed}: {KILLS} nodes lost, attempts {attempts}, longest pause {pause:.0f} s (before {kind!r})")
        assert pause < MOST_IDLE_SECONDS
        assert there.left_behind() == ([], [])


def test_a_sweep_starts_without_nodes_grows_and_shrinks(tmp_path: Path, whole: dict[str, Any]) -> None:
    """Ray's fake autoscaler: no node at first, three at most, none is kept for long once it is idle."""
    config = tmp_path / "fake.yaml"
    config.write_text(yaml.safe_dump(AUTOSCALER | {"idle_timeout_minutes": IDLE_SECONDS / 60}))
    fake = {"AUTOSCALER_UPDATE_INTERVAL_S": "1", "RAY_FAKE_CLUSTER": "1"}
    with descendants() as ours:
        head = Head(ours, tmp_path / "ray", f"--autoscaling-config={config}", port=6379, **fake)  # where its nodes look
        sweep = DrivenSweep(ours, tmp_path / "sweep", SPACE)
        driver, counts, begun = sweep.start(address=head.address), [0], time.monotonic()
        with head.driver():
            while driver.poll() is None or counts[-1] > 0:
                now = sum(node["Alive"] and node["Resources"].get("CPU", 0) > 0 for node in ray.nodes())
                if now != counts[-1]:
                    say(f"{now} nodes after {time.monotonic() - begun:.0f} s, {len(sweep.state.ended())} trials ended")
                    counts.append(now)
                assert time.monotonic() - begun < 900, head.log.read_text()[-3000:] + sweep.said()
                time.sleep(1)
        assert driver.returncode == 0, sweep.said()
        assert max(counts) == NODES
        said = sweep.output.read_text()
        assert "waiting for room: a trial of tiny-llama needs 1 worker of 1 CPUs" in said
        assert "the autoscaler is asked for it" in said
        sweep.check_whole(whole)
        assert head.left_behind() == ([], [])


def test_a_node_that_is_to_be_taken_away_saves_what_it_has(tmp_path: Path) -> None:
    """A spot notice, half a minute ahead: a trial that keeps no checkpoints goes on elsewhere from where it was."""
    made = SPACE | {
        "families": ["tiny-llama"],
        "design": {"blocks": 1, "seeds": 1},
        "space": SPACE["space"] | {"method": {"adamw": {}}},
        "train": SPACE["train"] | {"steps": 400, "checkpoint_every": 0, "max_failures": 0},
        "keep": {"checkpoints": "all"},
    }
    with descendants() as ours:
        there = Nodes(ours, tmp_path / "ray", 2)
        sweep = DrivenSweep(ours, tmp_path / "sweep", made)
        driver = sweep.start(address=there.address)
        wait_for("steps", lambda: steps_done(sweep.state) > 20 or driver.poll() is not None, 300, sweep.output)
        with there.driver():
            actors = list_actors(address=there.dashboard, limit=1000)
            workers = [one for one in actors if one.class_name == "RayTrainWorker"]
            (busy,) = {one.node_id for one in workers if one.state == "ALIVE"}
            name = next(name for name, node in there.nodes().items() if node == busy)
        deadline = int(time.time() * 1000) + 30_000
        accepted, why = GcsClient(address=there.address).drain_node(busy, PREEMPTION, "spot", deadline)
        assert accepted, why
        (trial,), noticed = sweep.state.trials.values(), steps_done(sweep.state)
        saved = sweep.folder.path / "work" / trial.trial_id
        wait_for("a checkpoint", lambda: list(saved.glob(f"checkpoint-*/{WHOLE}")), 60, sweep.output)
        there.lose(name)
        assert driver.wait(timeout=600) == 0, sweep.said()
        (trial,) = sweep.state.trials.values()
        assert (trial.attempt, trial.lost, trial.steps) == (1, (), 400)
        lines = progress_file(sweep.folder.path, trial.trial_id).read_text().splitlines()
        first = json.loads(lines[0])["first_step"]
        say(f"the notice came at step {noticed}, the workers that took over began at step {first}")
        assert first > noticed
        assert there.left_behind() == ([], [])


def test_two_sweeps_and_another_ray_on_one_machine(tmp_path: Path, whole: dict[str, Any]) -> None:
    """One sweep on a cluster of others, one on a Ray of its own, at the same time."""
    with descendants() as ours:
        there = Nodes(ours, tmp_path / "ray", 1)
        shared = DrivenSweep(ours, tmp_path / "shared", SPACE)
        own = DrivenSweep(ours, tmp_path / "own", SPACE)
        drivers = [shared.start(address=there.address), own.start()]
        codes = [driver.wait(timeout=900) for driver in drivers]
        for sweep, code in zip((shared, own), codes, strict=True):
            assert code == 0, sweep.said()
            sweep.check_whole(whole)
            assert "Traceback" not in sweep.output.read_text()
            assert "multiple active Ray" not in sweep.output.read_text()
        assert there.left_behind() == ([], [])


@pytest.mark.parametrize("backend", ["train", "inprocess"])
def test_a_driver_that_is_stopped_leaves_nothing_on_its_cluster(tmp_path: Path, backend: str) -> None:
    failures = SPACE["train"]["max_failures"] if backend == "train" else 0
    made = SPACE | {"train": SPACE["train"] | {"backend": backend, "steps": 400, "max_failures": failures}}
    with descendants() as ours:
        there = Nodes(ours, tmp_path / "ray", 2)
        sweep = DrivenSweep(ours, tmp_path / "sweep", made)
        driver = sweep.start(address=there.address)
        wait_for("two trials", lambda: at_work(sweep.state) == 2 or driver.poll() is not None, 300, sweep.output)
        begun = time.monotonic()
        driver.send_signal(signal.SIGINT)
        assert driver.wait(timeout=120) == 130, sweep.said()
        say(f"{backend}: stopped in {time.monotonic() - begun:.0f} s")
        assert there.left_behind() == ([], [])
