"""`omsweep delete`: a sweep goes whole, never while a driver runs it, never unasked."""

import io
from pathlib import Path

import pytest

from omsweep.cli import main
from omsweep.sinks.cursor import Cursor
from omsweep.store.folder import SweepFolder
from omsweep.store.lease import Lease, Owner
from tests.small_sweeps import SmallSweep


def delete(sweep: SweepFolder, *options: str) -> int:
    return main(["delete", sweep.name, "--storage", str(sweep.storage), *options])


def test_it_goes_whole_and_says_what(small_sweep: SmallSweep, capsys: pytest.CaptureFixture[str]) -> None:
    (small_sweep.storage / "mlflow.db").touch()
    Cursor(tracking_uri="http://host:5000", experiment="mine", experiment_id="1").write(small_sweep.files)
    assert delete(small_sweep, "--yes") == 0
    assert [one.name for one in small_sweep.storage.iterdir()] == ["mlflow.db"]
    said = capsys.readouterr().out
    assert f"this removes {small_sweep.path}: " in said
    assert "kB in " in said
    assert "3 trained models" in said
    assert "its runs in MLflow stay, in experiment mine of http://host:5000" in said


@pytest.mark.parametrize(("answer", "goes"), [("s", True), ("yes", False), ("", False)])
def test_on_a_terminal_its_name_is_asked_for(
    small_sweep: SmallSweep, monkeypatch: pytest.MonkeyPatch, answer: str, goes: bool
) -> None:
    terminal = io.StringIO(f"{answer}\n")
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr("sys.stdin", terminal)
    assert delete(small_sweep) == (0 if goes else 2)
    assert small_sweep.path.exists() != goes


def test_without_a_terminal_it_must_be_told(small_sweep: SmallSweep, capsys: pytest.CaptureFixture[str]) -> None:
    assert delete(small_sweep) == 2
    assert "without a terminal --yes is needed; nothing was removed" in capsys.readouterr().err
    assert small_sweep.path.is_dir()


def test_not_while_a_driver_runs_it(small_sweep: SmallSweep, capsys: pytest.CaptureFixture[str]) -> None:
    other = Owner(host="elsewhere", machine="another", pid=7, start=1)
    lease = Lease.take(small_sweep.files, owner=other)
    try:
        assert delete(small_sweep, "--yes") == 2
    finally:
        lease.release()
    assert "sweep s is run by process 7 on elsewhere: `omsweep stop s` ends it first" in capsys.readouterr().err
    assert small_sweep.path.is_dir()
    assert delete(small_sweep, "--yes") == 0


def test_a_fork_that_loses_its_policies_is_named(
    small_sweep: SmallSweep, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from tests.written_sweep import WrittenSweep

    fork = WrittenSweep(small_sweep.storage, "forked")
    fork.path.mkdir()
    fork.files.open_log()
    fork.happened("created", name="forked", resolved={}, versions={}, forked_from={"path": str(small_sweep.path)})
    assert delete(small_sweep, "--yes") == 0
    assert "forked took over from it" in capsys.readouterr().out
    assert fork.path.is_dir()


def test_what_is_no_sweep_is_left_alone(small_sweep: SmallSweep, capsys: pytest.CaptureFixture[str]) -> None:
    (small_sweep.storage / "photos").mkdir()
    assert delete(SweepFolder(small_sweep.storage, "photos"), "--yes") == 2
    assert "no sweep photos in" in capsys.readouterr().err
    assert (small_sweep.storage / "photos").is_dir()
