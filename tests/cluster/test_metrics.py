"""What Ray's Prometheus endpoint shows of a sweep: the numbers of its log, whatever went before."""

import json
import os
import re
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
from prometheus_client.parser import text_string_to_metric_families

from omsweep.cluster import metrics
from omsweep.cluster.metrics import METRICS, Tally, shown
from omsweep.plan.attempts import AGAIN
from omsweep.results.progress import Driver, progress_of
from omsweep.store.events import Event
from omsweep.store.records import STATES
from omsweep.store.state import SweepState, apply
from tests.descendants import descendants, wait_for
from tests.driven_sweep import DrivenSweep
from tests.engine.test_kill import COMPARE
from tests.example_sweeps import resolved_space
from tests.ray_head import free_ports
from tests.sinks.story import STORY, MemoryStorage, created, ended, numbered, proposed, started
from tests.store.test_state import random_sweep

PAGE = Path(__file__).parents[2] / "docs" / "operations.md"
LOST = {"reason": "process lost", "error": "killed", "traceback": None}
SPACE = resolved_space(families=["tiny-llama"], design={"blocks": 2, "seeds": 1})
EVENTS = numbered(
    created(**SPACE),
    proposed("t0"),
    proposed("t1"),
    proposed("t2"),
    started("t0"),
    started("t1"),
    ended("t0", reward=0.5, tax=1.0, tokens=600, seconds={"start": 1.0, "pilot": None, "train": 3.0, "evaluate": 2.0}),
    ("lost", "t1", {"attempt": 1, **LOST}),
    started("t1", attempt=2),
    ended("t1", reward=0.7, tax=3.0, tokens=600, seconds={"start": 1.0, "pilot": 0.5, "train": 1.0, "evaluate": 2.0}),
    started("t2"),
)

Values = dict[str, dict[tuple[str, ...], float]]


def values_of(events: Iterable[Event], tally: Tally | None = None) -> Values:
    """By metric and tags, after these events and those that the tally has had."""
    tally = Tally() if tally is None else tally
    for event in events:
        tally.add(event)
    found: Values = {name: {} for name in METRICS}
    for metric, tags, value in tally.points():
        assert tags not in found[metric]
        found[metric][tags] = value
    return found


def test_the_series_of_a_sweep_in_the_middle() -> None:
    of_sweep = {
        metric: {tags[1]: value for tags, value in found.items()} for metric, found in values_of(EVENTS).items()
    }
    assert of_sweep == {
        "omsweep_trials": {
            **dict.fromkeys(STATES, 0),
            "completed": 2,
            "running": 1,
            "waiting": 3,  # of six that the file asks for
        },
        "omsweep_hypervolume": {"f": pytest.approx(0.5 * 19 + 0.2 * 17)},  # the reference point is reward 0, tax 20
        "omsweep_front_size": {"f": 2},
        "omsweep_tokens_per_second": {"f": 200},  # the second attempt's seconds are not those of all its tokens
        "omsweep_phase_seconds_total": {"start": 2, "pilot": 0.5, "train": 4, "evaluate": 4},
        "omsweep_attempts_lost_total": dict.fromkeys(AGAIN, 0) | {"process lost": 1},
    }
    assert {tags[0] for found in values_of(EVENTS).values() for tags in found} == {"s"}


def test_a_trial_that_is_scored_by_another_job_waits_between_the_two() -> None:
    gave = {"state": "completed", "tokens": 600, "seconds": {"train": 2.0, "evaluate": 0.0}}
    done = ended("t0", reward=0.5, tax=1.0, tokens=600, seconds={"train": 2.0, "evaluate": 5.0})
    trained = [("trained", "t0", {"attempt": 1, "outcome": gave}), ("paused", "t0", {"attempt": 1})]
    events = numbered(created(**SPACE), proposed("t0"), started("t0"), *trained, started("t0", attempt=2), done)
    found = [{tags[1]: value for tags, value in values_of(events[:to])["omsweep_trials"].items()} for to in (5, 6, 7)]
    assert [(one["running"], one["waiting"], one["completed"]) for one in found] == [(0, 6, 0), (1, 5, 0), (0, 5, 1)]
    whole = values_of(events)
    assert whole["omsweep_tokens_per_second"] == {("s", "f"): 300}
    assert whole["omsweep_phase_seconds_total"]["s", "evaluate"] == 5
    assert not any(whole["omsweep_attempts_lost_total"].values())


def test_nothing_is_shown_before_the_sweep_is_there() -> None:
    assert not any(values_of([]).values())


@pytest.mark.parametrize("events", [STORY, random_sweep(3, {})], ids=["story", "random"])
def test_it_counts_what_a_look_at_everything_finds(events: list[Event]) -> None:
    state, tally = SweepState(), Tally()
    for event in events:
        state, found = apply(state, event), values_of([event], tally)
        whole = progress_of(state._replace(closed=None), Driver(name="here"))
        trials = {tags[1]: count for tags, count in found["omsweep_trials"].items()}
        assert {one: trials[one] for one in STATES if trials[one]} == dict(whole.ended)
        assert trials["running"] == whole.running
        assert trials["waiting"] == sum(one.phase == "proposed" for one in state.trials.values())
        lost = {tags[1]: count for tags, count in found["omsweep_attempts_lost_total"].items() if count}
        assert lost == dict(whole.lost)
        sizes = {tags[1]: size for tags, size in found["omsweep_front_size"].items()}
        assert sizes == {family: len(members) for family, members in state.fronts.items()}


class FakeGauge:
    """Keeps what it is set to until it is asked, as Ray's does until the next export."""

    values: dict[tuple[str, str], float]

    def __init__(self, name: str, description: str, tag_keys: tuple[str, ...]) -> None:
        self._name = name

    def set(self, value: float, tags: dict[str, str]) -> None:
        self.values[self._name, tags[METRICS[self._name].tags[1]]] = value


@pytest.fixture
def gauges(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[tuple[str, str], float]]:
    FakeGauge.values = {}
    monkeypatch.setattr(metrics, "Gauge", FakeGauge)
    monkeypatch.setattr(metrics, "SECONDS", 0.01)
    monkeypatch.setattr(ray, "is_initialized", lambda: True)
    return FakeGauge.values


def test_all_are_set_again_and_again_and_at_the_end(gauges: dict[tuple[str, str], float]) -> None:
    storage: Any = MemoryStorage(EVENTS[:-1])
    with shown(storage, pytest.fail):
        for _ in range(2):
            wait_for("another setting", lambda: gauges.get(("omsweep_trials", "completed")) == 2, 5)
            gauges.clear()  # exported: what is not set again is gone
    storage.show(EVENTS)
    assert gauges["omsweep_front_size", "f"] == 2
    with shown(storage, pytest.fail):  # the next driver's
        wait_for("what is new", lambda: gauges["omsweep_trials", "running"] == 1, 5)
    assert gauges["omsweep_trials", "completed"] == 2
    assert gauges["omsweep_phase_seconds_total", "train"] == 4


def test_what_goes_wrong_is_said_once_and_stops_nothing(
    gauges: dict[tuple[str, str], float], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise RuntimeError("no core worker")

    monkeypatch.setattr(FakeGauge, "set", refuse)
    said: list[str] = []
    with shown(MemoryStorage(EVENTS), said.append):  # type: ignore[arg-type]
        wait_for("the first try", lambda: said, 5)
        time.sleep(0.05)
    assert said == ["Prometheus is told no more of this sweep: RuntimeError: no core worker"]


def test_the_page_says_what_there_is() -> None:
    rows = re.findall(r"^\| `ray_(omsweep_\w+)\{sweep, (\w+)\}` \|", PAGE.read_text(), flags=re.MULTILINE)
    assert rows == [(name, metric.tags[1]) for name, metric in METRICS.items()]


class Endpoint:
    """A Ray's metrics and dashboard."""

    def __init__(self, metrics_port: int, dashboard_port: int) -> None:
        self._metrics = f"http://127.0.0.1:{metrics_port}/metrics"
        self._dashboard = f"http://127.0.0.1:{dashboard_port}"

    def values(self) -> Values:
        """What Prometheus would read of ours, by metric and tags."""
        found: Values = {name: {} for name in METRICS}
        with urllib.request.urlopen(self._metrics, timeout=10) as answer:
            families = list(text_string_to_metric_families(answer.read().decode()))
        for sample in (sample for family in families for sample in family.samples):
            name = sample.name.removeprefix("ray_")
            if name in METRICS:
                tags = tuple(sample.labels[tag] for tag in METRICS[name].tags)
                assert tags not in found[name], f"two series for {name} {tags}"
                found[name][tags] = sample.value
        return found

    def get(self, path: str) -> Any:
        token = {"Authorization": f"Bearer {os.environ['RAY_AUTH_TOKEN']}"}
        with urllib.request.urlopen(
            urllib.request.Request(self._dashboard + path, headers=token), timeout=30
        ) as answer:
            return json.load(answer)

    def listed(self, what: str) -> Any:
        """Actors or tasks that there are and were."""
        return self.get(f"/api/v0/{what}?detail=1&limit=1000")["data"]["result"]["result"]

    def __call__(self, condition: Callable[[Values], bool]) -> Callable[[], Values | None]:
        """A question for `wait_for`; two drivers in a row are both shown for a moment."""

        def ask() -> Values | None:
            try:
                found = self.values()
            except (OSError, AssertionError):
                return None
            return found if condition(found) else None

        return ask


@pytest.fixture
def running_ray(monkeypatch: pytest.MonkeyPatch) -> Iterator[Endpoint]:
    """A Ray that outlives its drivers and exports every second."""
    with tempfile.TemporaryDirectory(prefix="om", dir="/tmp") as home, descendants() as ours:  # short, for sockets
        port, metrics_port, dashboard, agent, listen, runtime = free_ports(6)
        options = {
            "port": port,
            "metrics-export-port": metrics_port,
            "dashboard-port": dashboard,
            "dashboard-agent-grpc-port": agent,
            "dashboard-agent-listen-port": listen,
            "runtime-env-agent-port": runtime,
            "dashboard-host": "127.0.0.1",
            "node-ip-address": "127.0.0.1",
            "min-worker-port": 0,
            "max-worker-port": 0,
            "num-cpus": 2,
            "object-store-memory": 256 * 1024**2,
            "temp-dir": f"{home}/r",
            "system-config": json.dumps({"metrics_report_interval_ms": 1000}),
        }
        command = [str(Path(sys.executable).parent / "ray"), "start", "--head", "--block"]
        ours.start(command + [f"--{name}={value}" for name, value in options.items()], output := Path(home) / "out")
        endpoint = Endpoint(metrics_port, dashboard)
        wait_for("the start of Ray", endpoint(lambda _: True), 90, output)
        monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{port}")
        yield endpoint


@pytest.mark.campaign
@pytest.mark.timeout(600)
def test_prometheus_reads_a_sweep_while_it_runs_and_of_the_next_driver_the_same(
    running_ray: Endpoint, tmp_path: Path
) -> None:
    space = COMPARE["space"] | {"learning_rate": 8e-5}  # a stand-in that goes further is beyond the reference point
    made = COMPARE | {"space": space, "train": COMPARE["train"] | {"steps": 40}}
    with descendants() as ours:
        sweep = DrivenSweep(ours, tmp_path, made)
        driver = sweep.start(work="steps")
        begun = running_ray(lambda found: found["omsweep_trials"].get(("s", "completed"), 0) >= 1)
        before = wait_for("a trial's end", begun, 120, sweep.output)
        assert 1 <= before["omsweep_trials"]["s", "running"] <= 2
        assert before["omsweep_hypervolume"]["s", "tiny-llama"] > 0
        driver.kill()
        driver.wait()
        again = sweep.start(work="steps")
        ended = running_ray(lambda found: found["omsweep_trials"].get(("s", "completed")) == 6)
        found = wait_for("all trials", ended, 180, sweep.output)
        assert again.wait(timeout=60) == 0, sweep.said()
        lost = found["omsweep_attempts_lost_total"]["s", "driver stopped"]
        assert lost == sum(len(one.lost) for one in sweep.state.trials.values()) >= 1
        (front,) = sweep.folder.front()["families"].values()
        assert found["omsweep_hypervolume"]["s", "tiny-llama"] == pytest.approx(front["hypervolume"])
        jobs = running_ray.get("/api/jobs/")
        assert [job["metadata"]["job_name"] for job in jobs] == ["s", "s"]
        tasks = {task["name"] for task in running_ray.listed("tasks")}
        assert {"prepare tiny-llama 0", "reference tiny-llama 0"} <= tasks
        parents = {trial.fields.get("parent") for trial in sweep.state.trials.values()} - {None}
        assert {f"merge {parent}" for parent in parents} <= tasks
        actors = running_ray.listed("actors")
        assert {one["repr_name"] for one in actors if one["class_name"].endswith("ResourceTrainable")} == {"s"}
