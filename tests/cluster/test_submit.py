"""`omsweep submit` without a cluster: what it would ship, what it refuses, how it follows and reports a job."""

import os
import re
import shlex
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ray._private.runtime_env.packaging import create_package
from ray.job_submission import JobStatus

from omsweep import cli
from omsweep.cluster import following, submit
from omsweep.families.tiny.architecture import random_family
from omsweep.space.load import load_space
from tests.cluster.stand_in import Cluster

SPACE = """
name: small
mode: compare
families: [tiny-llama]
preferences: tiny
space:
  algorithm: dpo
  learning_rate: 5.0e-4
  beta: 0.1
  method:
    adamw: {}
"""


@pytest.fixture
def space(tmp_path: Path) -> Path:
    path = tmp_path / "my space.yaml"
    path.write_text(SPACE)
    return path


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, space: Path) -> Callable[..., int]:
    """Submit `space` to a stand-in cluster; keyword arguments override the usual ones."""
    monkeypatch.setattr(following, "POLL_SECONDS", 0.0)

    def submit_to(cluster: Cluster, **changed: Any) -> int:
        monkeypatch.setattr(submit, "connect", lambda address: cluster)
        usual = {"overrides": [], "address": None, "name": None, "storage": "/shared/s", "tracking_uri": None}
        checked = load_space(space, changed.get("overrides", []))
        return submit.submit_sweep(space, checked, **{**usual, "wait": True, **changed})

    return submit_to


def test_only_the_search_space_and_the_package_are_shipped(run: Callable[..., int]) -> None:
    cluster = Cluster([["done\n"]], JobStatus.SUCCEEDED)
    assert run(cluster) == 0
    assert cluster.shipped == ["my space.yaml"]
    assert cluster.job["runtime_env"]["py_modules"] == [str(submit.PACKAGE)]
    assert cluster.job["metadata"]["omsweep_sweep"] == "small"


def test_a_job_is_told_the_commit_that_it_has_no_repository_to_ask_for(
    run: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(submit, "in_environment", lambda: {"OMSWEEP_REVISION": "abc", "OMSWEEP_MODIFIED": "0"})
    cluster = Cluster([["done\n"]], JobStatus.SUCCEEDED)
    run(cluster)
    told = cluster.job["runtime_env"]["env_vars"]
    assert told == {**submit.STOP_SETTINGS, "OMSWEEP_REVISION": "abc", "OMSWEEP_MODIFIED": "0"}


def test_the_package_that_is_shipped_is_complete_and_clean(tmp_path: Path) -> None:
    """Packed by Ray's own code, unpacked elsewhere, the command line answers from it."""
    target = tmp_path / "package.zip"
    create_package(
        str(submit.PACKAGE), target, include_gitignore=True, include_parent_dir=True, excludes=submit.NOT_SHIPPED
    )
    with zipfile.ZipFile(target) as archive:
        names = archive.namelist()
        archive.extractall(tmp_path / "unpacked")
    assert not [name for name in names if "__pycache__" in name]
    here = {str(path.relative_to(submit.PACKAGE.parent)) for path in submit.PACKAGE.rglob("*") if path.is_file()}
    assert {name for name in here if "__pycache__" not in name} == set(names)
    answer = subprocess.run(
        [sys.executable, "-m", "omsweep.cli", "families"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "unpacked")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "tiny-llama" in answer.stdout, answer.stderr


def test_the_entry_point_is_the_run_command_quoted_for_a_shell(tmp_path: Path, space: Path) -> None:
    awkward = "space.beta=$(touch owned)"
    request = submit.job_request(
        space,
        overrides=["train.steps=5", awkward],
        name="a b;touch owned",
        storage="/shared/my sweeps",
        tracking_uri="http://head:5000",
    )
    python, *words = shlex.split(request["entrypoint"])
    assert python == "python"
    assert words[:2] == ["-m", "omsweep.cli"]
    options = cli._parser().parse_args(words[2:])
    assert options.space == Path("my space.yaml")
    assert options.overrides == ["train.steps=5", awkward]
    assert (options.name, options.storage) == ("a b;touch owned", "/shared/my sweeps")
    assert options.tracking_uri == "http://head:5000"
    echoed = f"python() {{ printf '%s\\n' \"$@\"; }}; {request['entrypoint']}"
    shown = subprocess.run(["bash", "-c", echoed], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert shown.stdout.splitlines() == words
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"storage": "runs"}, "--storage must be an absolute path or a URI.*'runs'"),
        ({"storage": "s3://bucket/x"}, "mount an object store"),
        ({"tracking_uri": "sqlite:///mlflow.db"}, "--tracking-uri must be absolute"),
        ({"tracking_uri": "http://me:hunter2@host"}, "--tracking-uri must not hold"),
        ({"overrides": ["train.steps=0"]}, "train.steps"),
    ],
)
def test_what_a_job_cannot_use_is_refused_before_anything_is_sent(
    changed: dict[str, Any], message: str, run: Callable[..., int]
) -> None:
    cluster = Cluster([], JobStatus.SUCCEEDED)
    with pytest.raises(ValueError, match=message) as error:
        run(cluster, **changed)
    assert "hunter2" not in str(error.value)
    assert cluster.job == {}


@pytest.mark.parametrize(
    ("override", "key", "path"),
    [
        ("preferences=mine.jsonl", "preferences.path", "mine.jsonl"),
        ("space.method.adamw={preferences: mine.jsonl}", "space.method.adamw.preferences.path", "mine.jsonl"),
        ("families=[{name: m, base: org/base, sft: model}]", "families.m.sft", "model"),
        ("evaluate.tax=tasks", "evaluate.tax", "tasks"),
        ("evaluate.reward={prompts: mine.jsonl}", "evaluate.reward.prompts", "mine.jsonl"),
        ("evaluate.reward={scorer: reward_model, model: model, prompts: tiny}", "evaluate.reward.model", "model"),
        ("report={pilot: mine.jsonl}", "report.pilot", "mine.jsonl"),
    ],
)
def test_files_of_this_machine_named_by_a_relative_path_are_refused(
    override: str, key: str, path: str, run: Callable[..., int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.jsonl").write_text("{}\n")
    random_family(tmp_path / "model", hidden_size=32, intermediate_size=32)
    for folder in ("tasks", "tiny"):  # a folder called like an embedded suite is not meant
        Path(folder).mkdir()
    cluster = Cluster([["x"]], JobStatus.SUCCEEDED)
    with pytest.raises(ValueError, match=f"{key}: '{path}' is a path on this machine"):
        run(cluster, overrides=[override])
    assert cluster.job == {}
    assert run(cluster, overrides=["preferences=/shared/mine.jsonl"]) == 0


@pytest.mark.parametrize(
    ("status", "info", "code", "said"),
    [
        (JobStatus.SUCCEEDED, {}, 0, "job raysubmit_1 succeeded"),
        (JobStatus.FAILED, {"driver_exit_code": 2, "message": "long"}, 1, "job raysubmit_1 failed with exit code 2"),
        (JobStatus.FAILED, {"message": "no such runtime"}, 1, "job raysubmit_1 failed: no such runtime"),
        (JobStatus.STOPPED, {}, 1, "job raysubmit_1 stopped"),
    ],
)
def test_the_log_is_passed_on_and_the_status_is_the_exit_code(
    status: JobStatus,
    info: dict[str, Any],
    code: int,
    said: str,
    run: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(Cluster([["one\ntwo\n", "three\n"]], status, **info)) == code
    output = capsys.readouterr().out
    assert "one\ntwo\nthree\n" in output
    assert "omsweep stop small --address http://head:8265" in output
    assert "omsweep status small --address http://head:8265" in output
    assert "ray job logs --address http://head:8265 --follow raysubmit_1" in output
    assert output.rstrip().endswith(said)


def test_ctrl_c_detaches_and_says_how_to_stop_the_job(
    monkeypatch: pytest.MonkeyPatch, space: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster = Cluster([["working\n", KeyboardInterrupt()]], JobStatus.RUNNING)  # type: ignore[list-item]
    monkeypatch.setattr(submit, "connect", lambda address: cluster)
    assert cli.main(["submit", str(space), "--storage", "/shared/s"]) == 130
    output = capsys.readouterr().out
    assert "detached; job raysubmit_1 goes on" in output
    assert output.count("omsweep stop small --address http://head:8265") == 2


def test_without_waiting_it_returns_once_the_job_is_accepted(run: Callable[..., int]) -> None:
    cluster = Cluster([], JobStatus.FAILED)
    assert run(cluster, wait=False) == 0
    assert cluster.job["entrypoint"].startswith("python -m omsweep.cli run")


def test_a_job_is_named_after_its_sweep(run: Callable[..., int]) -> None:
    ids = []
    for _ in range(2):
        cluster = Cluster([["done\n"]], JobStatus.SUCCEEDED)
        run(cluster, name="my-sweep")
        assert cluster.job["metadata"]["omsweep_sweep"] == "my-sweep"
        ids.append(cluster.job["submission_id"])
    assert all(re.fullmatch("omsweep-my-sweep-[0-9a-f]{6}", one) for one in ids)
    assert ids[0] != ids[1]


def test_a_sweep_whose_job_runs_is_not_submitted_again(run: Callable[..., int]) -> None:
    cluster = Cluster([["done\n"]], JobStatus.SUCCEEDED, ran=[("small", "FAILED"), ("small", "PENDING")])
    with pytest.raises(ValueError, match=r"small is run by job job-1 on http://head:8265, which is pending.* --name"):
        run(cluster)
    assert cluster.job == {}
    assert run(cluster, name="other") == 0


def test_what_is_shipped_and_what_is_open_is_said(run: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    cluster = Cluster([["done\n"]], JobStatus.SUCCEEDED, open_to=["answers without a token"])
    assert run(cluster) == 0
    output = capsys.readouterr().out
    assert "warning: answers without a token" in output
    count, size = re.search(r"ships my space.yaml and omsweep \S+ \((\d+) files\), ([\d.]+) MB", output).groups()
    here = [path for path in submit.PACKAGE.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    assert int(count) == len(here)
    assert abs(float(size) - sum(path.stat().st_size for path in here) / 1e6) < 0.1


def test_a_space_that_no_node_can_run_is_refused(run: Callable[..., int]) -> None:
    cluster = Cluster([["done\n"]], JobStatus.SUCCEEDED, nodes=[{"CPU": 2.0}])
    with pytest.raises(ValueError, match="no node of this cluster holds a worker of tiny-llama"):
        run(cluster, overrides=["train.resources_per_worker={gpus: 1}"])
    assert cluster.job == {}


def test_a_cluster_that_is_not_there_is_one_line_and_exit_code_1(
    space: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = cli.main(["submit", str(space), "--storage", "/shared/s", "--address", "http://127.0.0.1:1"])
    assert code == 1
    assert capsys.readouterr().err == (
        "omsweep: not submitted: Failed to connect to Ray at address: http://127.0.0.1:1.\n"
    )
