"""Settings every test runs under: no hub, no telemetry, one torch thread, Ray without a token in the home folder.

Of two test processes one runs everything that starts Ray, one test after another, and begins with it; the other files
are dealt out whole, as their fixtures are shared within a file.
"""

import os
from pathlib import Path

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("RAY_AUTH_MODE", "disabled")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

ROOT = Path(__file__).parent
WITH_RAY = ("sweep", "test_cluster.py", "test_operations.py")
"""Folders and files of this folder whose tests start Ray: two at once would look for the same free ports."""


@pytest.hookimpl(tryfirst=True)  # xdist reads the groups in the same hook
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        item.add_marker(pytest.mark.xdist_group("ray" if _with_ray(item) else str(item.path)))
    items.sort(key=lambda item: not _with_ray(item))


def _with_ray(item: pytest.Item) -> bool:
    return item.path.relative_to(ROOT).parts[0] in WITH_RAY
