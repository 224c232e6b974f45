"""Planted secrets that trials, a judge and errors say aloud are found nowhere afterwards."""

import dataclasses
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from omsweep.engine import run as driver
from omsweep.engine.run import run_sweep
from omsweep.space.build import build_space
from omsweep.store.folder import SweepFolder
from tests.engine.conftest import NoSink
from tests.inline_executor import InlineExecutor
from tests.planted_secret import ANSWERS, DASHBOARD, PLANTED, WORK, content, places_of, plant
from tests.stub_work import STUB

ROOT = Path(__file__).parents[1]


def check_sweep(folder: Path, values: dict[str, str], output: str) -> None:
    """Nothing of the sweep has a value, and all of it is there: what was said was cut, not left out."""
    runs = folder / "runs"
    assert not [name for name, value in values.items() if value in output], output
    assert not places_of([runs], values.values())
    sweep = SweepFolder(runs, "s")
    state = sweep.state()
    assert state.resolved["secrets"] == {"HF_TOKEN": "env", "JUDGE_KEY": f"file:{folder / 'judge'}"}
    failed, done = (next(one for one in state.records() if one.label == label) for label in ("adamw", "ondare"))
    assert failed.error == "RuntimeError: the judge refused 401 ['***', '***'] http://judge/x?api_key=***"
    traceback = state.trials[failed.trial_id].traceback
    assert "the judge refused 401 ['***', '***']" in (sweep.path / str(traceback)).read_text()
    assert set(sweep.scores(done.trial_id)["completion"]) == {"401 ['***', '***'] http://me:***@judge/x?api_key=***"}
    for file in ("events.jsonl", "report.html", "../mlflow.db"):
        assert b"the judge refused" in (sweep.path / file).read_bytes()
    assert "401 ['***', '***']" in output


def test_a_sweep_leaves_no_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    values = plant(tmp_path)
    for name in PLANTED:
        monkeypatch.setenv(name, values[name])
    monkeypatch.setenv("JUDGE_KEY", "")
    space = build_space(content(tmp_path))
    code = run_sweep(space, "s", tmp_path / "runs", work=WORK, connected=InlineExecutor.connected([]))
    said = capsys.readouterr()
    assert code == 1, "scoring the front raised in the driver"
    assert "OSError: [Errno 5] 401 ['***', '***']" in (tmp_path / "runs/s/tracebacks/driver-1.txt").read_text()
    check_sweep(tmp_path, values, said.out + said.err)


def test_where_a_secret_is_may_change_when_a_sweep_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(driver, "MlflowSink", NoSink)
    for left_out in ("write_report", "print_status", "print_answers"):
        monkeypatch.setattr(driver, left_out, lambda *_: None)
    values = plant(tmp_path)
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    work = dataclasses.replace(WORK, rescore=STUB.rescore)
    for places in (content(tmp_path)["secrets"], {"HF_TOKEN": "env", "JUDGE_KEY": "env"}, {"JUDGE_KEY": "env"}):
        space = build_space(content(tmp_path, secrets=places))
        assert run_sweep(space, "s", tmp_path / "runs", work=work, connected=InlineExecutor.connected([])) == 0
    assert "is finished" in capsys.readouterr().out
    with pytest.raises(ValueError, match="secret NO_KEY is missing for the driver on"):
        run_sweep(build_space(content(tmp_path, secrets={"NO_KEY": "env"})), "s", tmp_path / "runs")


@pytest.mark.campaign
@pytest.mark.parametrize("backend", ["train", "inprocess"])
def test_a_sweep_on_ray_leaves_no_secret(tmp_path: Path, backend: str) -> None:
    """In its storage, in Ray's session folder, in what the dashboard and the jobs API answer."""
    values = plant(tmp_path)
    home = Path(tempfile.mkdtemp(prefix="op", dir="/tmp"))  # short: Ray's sockets lie below it
    environment = os.environ | {name: values[name] for name in PLANTED} | {"RAY_TMPDIR": str(home)}
    try:
        done = subprocess.run(
            [sys.executable, "-m", "tests.planted_secret", str(tmp_path), backend],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        output = done.stdout + done.stderr
        assert done.returncode == 0, output
        logs = list((home / "ray").rglob("worker*.out"))
        assert any("401 ['***', '***']" in file.read_text() for file in logs), "the workers said it there"
        assert not places_of([home], values.values())
    finally:
        shutil.rmtree(home, ignore_errors=True)
    check_sweep(tmp_path, values, output)
    answers = json.loads((tmp_path / DASHBOARD).read_text())
    assert not [path for path, text in answers.items() if any(value in text for value in values.values())]
    assert sum(not text.startswith("none: ") for text in answers.values()) >= len(ANSWERS) - 2, answers
