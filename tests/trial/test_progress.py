"""Losses reach the driver while a trial trains: whole lines only, and a file that starts anew is read anew."""

import json
import math
from pathlib import Path

import pytest

from omsweep.trial import progress
from omsweep.trial.progress import Losses, ProgressWriter, read_losses


def test_what_is_written_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "SECONDS", 0.0)
    file = tmp_path / "work" / "p.jsonl"
    assert read_losses(file, 0) == ([], 0)
    write = ProgressWriter(file)
    write(1, {"loss": 0.7, "grad_norm": 1.0})
    found, position = read_losses(file, 0)
    assert found == [Losses(1, [0.7])]
    write(2, {"loss": math.nan})
    with file.open("a") as torn:
        torn.write('{"first_step": 3, "los')
    assert read_losses(file, position)[0] == [Losses(2, [None])]
    ProgressWriter(file)(1, {"loss": 0.5})
    assert read_losses(file, 10_000)[0] == [Losses(1, [0.5])]


def test_steps_are_written_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = ProgressWriter(tmp_path / "p.jsonl")
    for step in range(1, 5):
        write(step, {"loss": step / 10})
    assert read_losses(tmp_path / "p.jsonl", 0) == ([], 0)
    monkeypatch.setattr(progress, "SECONDS", 0.0)
    write(5, {"loss": 0.5})
    [line] = (tmp_path / "p.jsonl").read_text().splitlines()
    assert json.loads(line) == {"first_step": 1, "losses": [0.1, 0.2, 0.3, 0.4, 0.5]}


def test_losses_before_something_else_follows_do_not_wait(tmp_path: Path) -> None:
    write = ProgressWriter(tmp_path / "p.jsonl", at={2, 4})
    for step in range(1, 4):
        write(step, {"loss": step / 10})
    assert read_losses(tmp_path / "p.jsonl", 0)[0] == [Losses(1, [0.1, 0.2])]
