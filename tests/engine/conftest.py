"""One local Ray for all tests of this room that need one."""

import time
from collections.abc import Iterator

import numpy as np
import pytest
import ray
from ray.util import placement_group_table, remove_placement_group
from ray.util.placement_group import PlacementGroup
from rich.console import Console

from omsweep.cluster.connect import connect
from omsweep.engine import run as driver
from omsweep.report.write import write_front
from omsweep.results import front

RELEASE_SECONDS = 5


class NoSink:
    """Stands in for `MlflowSink`."""

    def __init__(self, *_: object, **__: object) -> None:
        pass

    def start(self, *_: object) -> None:
        """Nothing."""

    flush = stop = start

    def addresses(self, *_: object) -> list[str]:
        return []


@pytest.fixture
def no_sink(monkeypatch: pytest.MonkeyPatch) -> None:
    """A driver without MLflow and pictures: a sweep of stand-ins takes milliseconds."""
    monkeypatch.setattr(driver, "MlflowSink", NoSink)
    monkeypatch.setattr(driver, "write_report", write_front)
    for shown in ("print_status", "print_answers"):
        monkeypatch.setattr(driver, shown, lambda *_: None)
    monkeypatch.setattr(front, "front_probability", lambda losses, _: np.ones(len(losses)))  # a thousand draws a page


@pytest.fixture(scope="session")
def shared_ray() -> Iterator[None]:
    """A Ray of this process's own; sweeps of its tests use it and leave it as it was."""
    with connect(Console(quiet=True)):
        yield


@pytest.fixture
def local_ray(shared_ray: None) -> Iterator[None]:
    """The shared Ray, which the next test finds free.

    A sweep's actors end a moment after the sweep. One that a signal ended leaves what a driver's own end would take
    along: it goes with its placement group.
    """
    yield
    if _free_within(RELEASE_SECONDS):
        return
    for group in [group for group, row in placement_group_table().items() if row["state"] != "REMOVED"]:
        remove_placement_group(PlacementGroup(ray.PlacementGroupID(bytes.fromhex(group))))
    assert _free_within(12 * RELEASE_SECONDS), f"the shared Ray is not free: {ray.available_resources()}"


def _free_within(seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while ray.available_resources().get("CPU", 0) < ray.cluster_resources()["CPU"]:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True
