"""Settings every test runs under: no hub, no telemetry, one torch thread, a token of its own for Ray."""

import os
import secrets

import pytest
from xdist.remote import Producer
from xdist.scheduler.loadfile import LoadFileScheduling

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("RAY_AUTH_MODE", "token")
os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))  # by this variable none is written to the home folder
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

pytest_plugins = ["tests.space_files", "tests.example_sweeps", "tests.small_sweeps"]

RAY_TESTS = "tests/engine/"


class _OneRay(LoadFileScheduling):
    """File by file over the test processes; the tests that share a local Ray all go to the same one."""

    def _split_scope(self, nodeid: str) -> str:
        return RAY_TESTS if nodeid.startswith(RAY_TESTS) else str(super()._split_scope(nodeid))


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadFileScheduling:
    return _OneRay(config, log)
