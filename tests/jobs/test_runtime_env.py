"""`jobs/runtime_env.yaml` is one that Ray takes, and ships what a job needs and nothing else."""

from pathlib import Path
from typing import Any

import pytest
from ray._private.runtime_env.packaging import _get_excludes
from ray.dashboard.modules.dashboard_sdk import parse_runtime_env_args
from ray.runtime_env import RuntimeEnv

ROOT = Path(__file__).parents[2]
FILE = ROOT / "jobs" / "runtime_env.yaml"


@pytest.fixture(scope="module")
def runtime_env() -> dict[str, Any]:
    return parse_runtime_env_args(runtime_env=str(FILE), working_dir=str(ROOT))


def test_ray_takes_it(runtime_env: dict[str, Any]) -> None:
    assert set(runtime_env) == {"excludes", "env_vars", "working_dir"}
    RuntimeEnv(**runtime_env)


def test_a_mistake_is_refused(runtime_env: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match="env_vars"):
        RuntimeEnv(**runtime_env | {"env_vars": {"RAY_JOB_STOP_WAIT_TIME_S": 60}})


@pytest.mark.parametrize(
    "path",
    [
        *(".venv/bin/python", ".cache/families/x", "runs/demo/events.jsonl", "omsweep/__pycache__/cli.pyc"),
        *("docs/log.md", "tests/conftest.py", "benchmarks/results/a.md", "deploy/head_services.sh", ".ci/run"),
    ],
)
def test_what_a_job_does_not_need_stays(runtime_env: dict[str, Any], path: str) -> None:
    assert _get_excludes(ROOT, runtime_env["excludes"])(ROOT / path)


@pytest.mark.parametrize("pattern", ["omsweep/**/*.*", "jobs/*.py", "search_spaces/**/*.yaml"])
def test_what_a_job_needs_is_shipped(runtime_env: dict[str, Any], pattern: str) -> None:
    excluded = _get_excludes(ROOT, runtime_env["excludes"])
    needed = [path for path in ROOT.glob(pattern) if "__pycache__" not in path.parts]
    assert needed
    assert [path for path in needed if excluded(path)] == []
