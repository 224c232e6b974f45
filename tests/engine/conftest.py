"""One local Ray for all tests of this room that need one."""

import time
from collections.abc import Iterator

import pytest
import ray
from ray.util import placement_group_table, remove_placement_group
from ray.util.placement_group import PlacementGroup
from rich.console import Console

from omsweep.cluster.connect import connect

RELEASE_SECONDS = 5


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
