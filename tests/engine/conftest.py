"""One local Ray for all tests of this room that need one."""

import time
from collections.abc import Iterator

import pytest
import ray
from rich.console import Console

from omsweep.cluster.connect import connect

RELEASE_SECONDS = 60


@pytest.fixture(scope="session")
def shared_ray() -> Iterator[None]:
    """A Ray of this process's own; sweeps of its tests use it and leave it as it was."""
    with connect(Console(quiet=True)):
        yield


@pytest.fixture
def local_ray(shared_ray: None) -> Iterator[None]:
    """The shared Ray, which the next test finds free: a sweep's actors end a moment after the sweep."""
    yield
    deadline = time.monotonic() + RELEASE_SECONDS
    while ray.available_resources().get("CPU", 0) < ray.cluster_resources()["CPU"] and time.monotonic() < deadline:
        time.sleep(0.1)
