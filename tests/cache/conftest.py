"""A process of its own that builds an entry, slowly."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from omsweep.cache import recipe_hash, use

RECIPE = {"of": "a test", "seed": 1}
KIND = "kind"
BUILDER = """
import sys, time
from pathlib import Path
from omsweep.cache import build_once

def build(folder):
    with (root / "builds").open("a") as log:
        log.write("built\\n")
    (folder / "half").write_text("half of it")
    time.sleep(seconds)
    (folder / "data").write_text("content")

root, seconds, lives = Path(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3])
build_once("kind", {"of": "a test", "seed": 1}, build, root=root)
(root / "done").touch()
time.sleep(lives)
"""
NO_FLOCK = """
import errno, fcntl

def flock(*_):
    raise OSError(errno.ENOSYS, "no flock here")

fcntl.flock = flock
"""
StartBuilder = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def entry(tmp_path: Path) -> Path:
    """Where the entry of `RECIPE` lies or will lie."""
    return tmp_path / KIND / recipe_hash(RECIPE)


@pytest.fixture
def start_builder(tmp_path: Path) -> Iterator[StartBuilder]:
    """Start a process that builds the entry of `RECIPE`; it is killed at the end of the test."""
    started = []

    def start(*, seconds: float, flock: bool = True, lives: float = 0.0) -> "subprocess.Popen[bytes]":
        program = BUILDER if flock else NO_FLOCK + BUILDER
        process = subprocess.Popen([sys.executable, "-c", program, str(tmp_path), str(seconds), str(lives)])
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


def let_go() -> None:
    """Use nothing any more, as a process that has ended."""
    while use._held:
        os.close(use._held.popitem()[1])


def wait_until(there: Callable[[], bool]) -> None:
    """Until it is so, ten seconds at most."""
    until = time.monotonic() + 10
    while not there():
        assert time.monotonic() < until
        time.sleep(0.01)
