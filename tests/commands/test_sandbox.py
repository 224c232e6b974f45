"""`omsweep sandbox`: a table, and 1 when a program is not held or none can be run."""

import pytest

import omsweep.commands.sandbox as command
from omsweep.cli import main
from omsweep.evaluation.sandbox.battery import Row
from omsweep.evaluation.sandbox.hostile import HOSTILE
from omsweep.evaluation.sandbox.limits import Verdict


@pytest.mark.parametrize("held", [True, False])
def test_a_program_that_gets_through_is_shown_and_fails(
    held: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [Row(hostile=HOSTILE[0], verdict=Verdict(outcome="failed", reason="\x1b[2J"), held=held)]
    monkeypatch.setattr(command, "available", lambda: None)
    monkeypatch.setattr(command, "run_battery", lambda: rows)
    assert main(["sandbox"]) == (0 if held else 1)
    said = capsys.readouterr().out
    assert ("THROUGH" in said) is not held
    assert HOSTILE[0].name in said
    assert f"{int(held)} of 1 held" in said
    assert "\x1b" not in said


def test_a_machine_that_allows_no_namespaces_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "available", lambda: "refused: new namespaces: Operation not permitted")
    assert main(["sandbox"]) == 1
    assert "no program of a model can be run here: refused: new namespaces" in capsys.readouterr().err


def test_a_benchmark_without_a_file_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "available", lambda: None)
    assert main(["sandbox", "--references", "humaneval"]) == 2
