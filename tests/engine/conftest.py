"""One local Ray for all tests of this room that need one."""

from collections.abc import Iterator

import pytest
from rich.console import Console

from omsweep.cluster.connect import connect


@pytest.fixture(scope="session")
def local_ray() -> Iterator[None]:
    """A Ray of our own, with two CPUs' worth of room; sweeps of this process use it and leave it as it was."""
    with connect(Console(quiet=True)):
        yield
