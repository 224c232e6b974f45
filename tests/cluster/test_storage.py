"""Where a sweep may lie: anywhere on this machine, only on absolute shared places in a Ray job."""

import re
from pathlib import Path

import pytest
from ray._private.runtime_env.constants import RAY_JOB_CONFIG_JSON_ENV_VAR

from omsweep.cluster.storage import (
    check_job_storage,
    check_job_tracking,
    check_tracking,
    in_ray_job,
    storage_folder,
    storage_path,
)


@pytest.fixture
def in_job(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(RAY_JOB_CONFIG_JSON_ENV_VAR, "{}")


def test_a_job_is_recognised_by_the_variable_that_rays_supervisor_sets(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv(RAY_JOB_CONFIG_JSON_ENV_VAR, raising=False)
    assert not in_ray_job()
    monkeypatch.setenv(RAY_JOB_CONFIG_JSON_ENV_VAR, "{}")
    assert in_ray_job()


def test_outside_jobs_the_default_is_below_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert storage_folder(None, "runs") == tmp_path / "runs"
    assert storage_folder("other/deep", "runs") == tmp_path / "other" / "deep"
    assert list(tmp_path.iterdir()) == []


def test_the_home_folder_may_be_written_as_a_tilde(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert storage_folder("~/sweeps", "runs") == tmp_path / "sweeps"


def test_file_uris_are_folders(tmp_path: Path) -> None:
    assert storage_folder(f"file://{tmp_path}/a%20b", "runs") == tmp_path / "a b"


@pytest.mark.parametrize("given", [None, "runs", "./runs", "~/runs"])
def test_relative_storage_is_refused_in_a_job(given: str | None, in_job: None) -> None:
    with pytest.raises(ValueError, match=rf"--storage must be an absolute path or a URI.*{given!r}"):
        storage_folder(given, "runs")


def test_absolute_storage_is_used_in_a_job(tmp_path: Path, in_job: None) -> None:
    assert storage_folder(str(tmp_path / "s"), "runs") == tmp_path / "s"
    assert storage_folder(f"file://{tmp_path}/s", "runs") == tmp_path / "s"


@pytest.mark.parametrize("given", ["s3://bucket/sweeps", "gs://b/x", "file://host/x"])
def test_what_cannot_be_opened_as_a_folder_is_refused(given: str) -> None:
    with pytest.raises(ValueError, match="mount an object store"):
        check_job_storage(given)


@pytest.mark.parametrize(
    "uri",
    [
        None,
        "sqlite:////shared/mlflow.db",
        "/shared/mlruns",
        "file:///shared/mlruns",
        "http://head:5000",
        "databricks://p",
    ],
)
def test_tracking_that_outlives_a_job(uri: str | None) -> None:
    check_job_tracking(uri)


@pytest.mark.parametrize("uri", ["mlruns", "./mlruns", "sqlite:///mlflow.db", "sqlite://", "file://mlruns"])
def test_tracking_that_a_job_throws_away_is_refused(uri: str) -> None:
    with pytest.raises(ValueError, match=rf"--tracking-uri must be absolute in a Ray job.*{re.escape(uri)}"):
        check_job_tracking(uri)


@pytest.mark.parametrize(
    "uri",
    [
        "http://me:hunter2@host:5000",
        "http://me:hunter2/@host",
        "postgresql://db/mlflow?password=hunter2",
        "http://host/?api_key=hunter2",
    ],
)
def test_a_uri_with_a_secret_is_refused_without_showing_it(uri: str) -> None:
    with pytest.raises(ValueError, match="--tracking-uri must not hold") as error:
        check_job_tracking(uri)
    assert "hunter2" not in str(error.value)


def test_a_path_in_a_tracking_uri_is_written_with_escapes(tmp_path: Path) -> None:
    (tmp_path / "team%20a").mkdir()
    check_tracking(f"sqlite:///{tmp_path}/team%2520a/mlflow.db")
    check_tracking(f"sqlite:///{tmp_path}/new/mlflow.db?timeout=3")
    for uri in (f"sqlite:///{tmp_path}/team%20a/mlflow.db", "sqlite:////x/what?v=2/mlflow.db"):
        with pytest.raises(
            ValueError, match="tracking URI .*: in the URI of a file % is written %25 and . %3F, sqlite"
        ):
            check_tracking(uri)


def test_a_storage_uri_has_no_query() -> None:
    assert storage_path("file:///data/what%3Fv=2", "runs") == Path("/data/what?v=2")
    for uri in ("file:///data/what?v=2", "file:///data/a#b"):
        with pytest.raises(ValueError, match="--storage: in a file:// URI write"):
            storage_path(uri, "runs")
