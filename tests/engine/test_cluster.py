"""Sweeps on clusters of several nodes that come and go: a head without CPUs and nodes of their own, on this machine."""

import itertools
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import ray
import yaml
from ray._raylet import GcsClient
from ray.cluster_utils import Cluster
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
        "head": {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0},
        "node": {"resources": {"CPU": 1, "object_store_memory": 150_000_000}, "node_config": {}, "max_workers": NODES},
    },
    "head_node_type": "head",
    "upscaling_speed": 1.0,
    "auth": {},
    "docker": {},
    "file_mounts": {},
    **{f"{when}_commands": [] for when in ("initialization", "setup", "head_setup", "worker_setup")},
    **{f"{node}_start_ray_commands": [] for node in ("head", "worker")},
}
PREEMPTION = autoscaler_pb2.DrainNodeReason.Value("DRAIN_NODE_REASON_PREEMPTION")
RAYS_OWN = ("_AutoscalingCoordinatorActor",)
"""Detached actors of Ray's that all its jobs share."""


class Nodes:
    """A cluster of a head that trains nothing and so many nodes of one CPU."""

    def __init__(self, count: int) -> None:
        head = {"num_cpus": 0, "include_dashboard": True, "dashboard_port": 0, "dashboard_host": "127.0.0.1"}
        self.cluster = Cluster(initialize_head=True, head_node_args=head)
        self.up = [self.cluster.add_node(num_cpus=1) for _ in range(count)]

    def lose(self, which: int) -> str:
        """Kill a node with all of its processes, at once."""
        node = self.up.pop(which)
        self.cluster.remove_node(node, allow_graceful=False)
        return str(node.node_id)

    def join(self) -> None:
        """Another node."""
        self.up.append(self.cluster.add_node(num_cpus=1))

    @property
    def address(self) -> str:
        """Of its head."""
        return str(self.cluster.address)


@contextmanager
def nodes(count: int) -> Iterator[Nodes]:
    made = Nodes(count)
    try:
        yield made
    finally:
        made.cluster.shutdown()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What an undisturbed sweep finds, on a Ray of its own."""
    with descendants() as ours:
        sweep = DrivenSweep(ours, tmp_path_factory.mktemp("whole") / "whole", SPACE)
        assert sweep.run() == 0, sweep.said()
        return found(sweep.storage)


def left_behind(address: str) -> tuple[list[str], list[str]]:
    """Actors that live and placement groups that hold something, by their names."""
    ray.init(address=address, logging_level="ERROR")
    try:
        actors = [one.class_name for one in list_actors(limit=1000) if one.state != "DEAD"]
        groups = [str(one.placement_group_id) for one in list_placement_groups(limit=1000) if one.state != "REMOVED"]
    finally:
        ray.shutdown()
    return [name for name in actors if name not in RAYS_OWN], groups


def worker_node(address: str) -> str:
    """The node of the only training worker."""
    ray.init(address=address, logging_level="ERROR")
    try:
        (node,) = {
            one.node_id
            for one in list_actors(limit=1000)
            if one.class_name == "RayTrainWorker" and one.state == "ALIVE"
        }
    finally:
        ray.shutdown()
    return str(node)


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
    with nodes(NODES) as there, descendants() as ours:
        sweep = DrivenSweep(ours, tmp_path / "sweep", SPACE)
        driver = sweep.start(address=there.address)
        for kill in range(KILLS):
            at = all_steps * (kill + chance.random()) / (KILLS + 1)
            wait_for("a step", lambda at=at: steps_done(sweep.state) >= at, 600, sweep.output)
            assert driver.poll() is None, sweep.said()
            node = there.lose(chance.randrange(len(there.up)))
            say(f"node {node[:8]} lost at {steps_done(sweep.state)} of {all_steps} steps; {len(there.up)} left")
            time.sleep(chance.uniform(0.0, 8.0))
            there.join()
        assert driver.wait(timeout=900) == 0, sweep.said()
        sweep.check_whole(whole)
        pause, kind = longest_pause(sweep)
        attempts = {one.trial_id: one.attempt for one in sweep.state.trials.values()}
        say(f"seed {seed}: {KILLS} nodes lost, attempts {attempts}, longest pause {pause:.0f} s (before {kind!r})")
        assert pause < MOST_IDLE_SECONDS
        assert left_behind(there.address) == ([], [])


@contextmanager
def autoscaled(ours: Descendants, path: Path) -> Iterator[tuple[str, Path]]:
    """Address of a head whose autoscaler adds up to `NODES` nodes of one CPU, and its log."""
    path.mkdir()
    gcs, dashboard = free_port(), free_port()
    idle_minutes = IDLE_SECONDS / 60
    (path / "fake.yaml").write_text(yaml.safe_dump(AUTOSCALER | {"idle_timeout_minutes": idle_minutes}))
    command = [str(Path(sys.executable).parent / "ray"), "start", "--head", "--block", "--num-cpus=0"]
    command += [f"--port={gcs}", "--node-ip-address=127.0.0.1", f"--temp-dir={tempfile.mkdtemp(prefix='ray-')}"]
    command += [f"--dashboard-port={dashboard}", f"--autoscaling-config={path / 'fake.yaml'}"]
    log = path / "head.log"
    head = ours.start(command, log, AUTOSCALER_UPDATE_INTERVAL_S="1", RAY_FAKE_CLUSTER="1", RAY_AUTH_MODE="disabled")
    wait_for("the head", lambda: "Ray runtime started" in log.read_text(), 60, log)
    try:
        yield f"127.0.0.1:{gcs}", log
    finally:
        head.terminate()
        head.wait(timeout=60)


def test_a_sweep_starts_without_nodes_grows_and_shrinks(tmp_path: Path, whole: dict[str, Any]) -> None:
    """Ray's fake autoscaler: no node at first, three at most, none is kept for long once it is idle."""
    with descendants() as ours, autoscaled(ours, tmp_path / "ray") as (address, log):
        sweep = DrivenSweep(ours, tmp_path / "sweep", SPACE)
        driver, counts = sweep.start(address=address), [0]
        ray.init(address=address, logging_level="ERROR")
        try:
            begun = time.monotonic()
            while driver.poll() is None or counts[-1] > 0:
                now = sum(node["Alive"] and node["Resources"].get("CPU", 0) > 0 for node in ray.nodes())
                if now != counts[-1]:
                    say(f"{now} nodes after {time.monotonic() - begun:.0f} s, {len(sweep.state.ended())} trials ended")
                    counts.append(now)
                assert time.monotonic() - begun < 900, log.read_text()[-3000:] + sweep.said()
                time.sleep(1)
        finally:
            ray.shutdown()
        assert driver.returncode == 0, sweep.said()
        assert max(counts) == NODES
        said = sweep.output.read_text()
        assert "waiting for room: a trial of tiny-llama needs 1 worker of 1 CPUs" in said
        assert "the autoscaler is asked for it" in said
        sweep.check_whole(whole)
        assert left_behind(address) == ([], [])


def test_a_node_that_is_to_be_taken_away_saves_what_it_has(tmp_path: Path) -> None:
    """A spot notice, half a minute ahead: a trial that keeps no checkpoints goes on elsewhere from where it was."""
    made = SPACE | {
        "families": ["tiny-llama"],
        "design": {"blocks": 1, "seeds": 1},
        "space": SPACE["space"] | {"method": {"adamw": {}}},
        "train": SPACE["train"] | {"steps": 400, "checkpoint_every": 0, "max_failures": 0},
    }
    with nodes(2) as there, descendants() as ours:
        sweep = DrivenSweep(ours, tmp_path / "sweep", made)
        driver = sweep.start(address=there.address)
        wait_for("steps", lambda: steps_done(sweep.state) > 20 or driver.poll() is not None, 300, sweep.output)
        (trial,) = sweep.state.trials.values()
        lost = next(node for node in there.up if node.node_id == worker_node(there.address))
        deadline = int(time.time() * 1000) + 30_000
        drained = GcsClient(address=there.address).drain_node(lost.node_id, PREEMPTION, "spot", deadline)
        assert drained[0], drained
        said = steps_done(sweep.state)
        saved = sweep.folder.path / "work" / trial.trial_id
        wait_for("a checkpoint", lambda: list(saved.glob(f"checkpoint-*/{WHOLE}")), 60, sweep.output)
        there.lose(there.up.index(lost))
        assert driver.wait(timeout=600) == 0, sweep.said()
        (trial,) = sweep.state.trials.values()
        assert (trial.attempt, trial.lost, trial.steps) == (1, (), 400)
        first = json.loads(progress_file(sweep.folder.path, trial.trial_id).read_text().splitlines()[0])["first_step"]
        say(f"the notice came at step {said}, the workers that took over began at step {first}")
        assert first > said
        assert left_behind(there.address) == ([], [])


def test_two_sweeps_and_another_ray_on_one_machine(tmp_path: Path, whole: dict[str, Any]) -> None:
    """One sweep on a cluster of others, one on a Ray of its own, at the same time."""
    with nodes(1) as there, descendants() as ours:
        shared = DrivenSweep(ours, tmp_path / "shared", SPACE)
        own = DrivenSweep(ours, tmp_path / "own", SPACE)
        drivers = [shared.start(address=there.address), own.start()]
        codes = [driver.wait(timeout=900) for driver in drivers]
        for sweep, code in zip((shared, own), codes, strict=True):
            assert code == 0, sweep.said()
            sweep.check_whole(whole)
            assert "Traceback" not in sweep.output.read_text()
            assert "multiple active Ray" not in sweep.output.read_text()
        assert left_behind(there.address) == ([], [])


@pytest.mark.parametrize("backend", ["train", "inprocess"])
def test_a_driver_that_is_stopped_leaves_nothing_on_its_cluster(tmp_path: Path, backend: str) -> None:
    failures = SPACE["train"]["max_failures"] if backend == "train" else 0
    made = SPACE | {"train": SPACE["train"] | {"backend": backend, "steps": 400, "max_failures": failures}}
    with nodes(2) as there, descendants() as ours:
        sweep = DrivenSweep(ours, tmp_path / "sweep", made)
        driver = sweep.start(address=there.address)
        wait_for(
            "two trials at work", lambda: at_work(sweep.state) == 2 or driver.poll() is not None, 300, sweep.output
        )
        begun = time.monotonic()
        driver.send_signal(signal.SIGINT)
        assert driver.wait(timeout=120) == 130, sweep.said()
        say(f"{backend}: stopped in {time.monotonic() - begun:.0f} s")
        assert left_behind(there.address) == ([], [])
