"""What `omsweep run` refuses before it costs anything."""

from pathlib import Path

import pytest

from omsweep import __version__
from omsweep.cli import BAD_USAGE, main
from omsweep.provenance import revision

DEMO = str(Path(__file__).parents[1] / "search_spaces" / "demo.yaml")


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["run", DEMO, *arguments]) == BAD_USAGE
    (line,) = capsys.readouterr().err.splitlines()
    return line


@pytest.mark.parametrize("uri", ["http://me:hunter2@host:5000", "postgresql://db/mlflow?password=hunter2"])
def test_a_tracking_uri_with_a_secret_is_refused_with_the_remedy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], uri: str
) -> None:
    line = refused(capsys, "--storage", str(tmp_path / "runs"), "--tracking-uri", uri)
    assert "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD" in line
    assert "hunter2" not in line
    assert not (tmp_path / "runs").exists()


def test_a_cache_that_cannot_be_used_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("OMSWEEP_CACHE", str(tmp_path / "file"))
    line = refused(capsys, "--storage", str(tmp_path / "runs"), "--name", "s")
    assert line == f"omsweep: the cache ($OMSWEEP_CACHE) cannot be used: {tmp_path}/file cannot be written: File exists"
    assert not (tmp_path / "runs").exists()


def test_the_tracking_store_is_tried_before_ray_starts_or_a_folder_is_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from omsweep.engine import on_ray

    monkeypatch.setattr(on_ray, "connect", lambda _: pytest.fail("Ray was asked first"))
    line = refused(capsys, "--storage", str(tmp_path / "runs"), "--name", "s", "--tracking-uri", "http://127.0.0.1:1")
    assert "tracking URI http://127.0.0.1:1 cannot be used" in line
    assert not (tmp_path / "runs").exists()


def test_the_version_names_the_commit(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    commit = revision()["git_revision"]
    assert capsys.readouterr().out.startswith(f"omsweep {__version__}" + (f" (git {commit}" if commit else ""))
