"""Which trials `omsweep retry` tries again, and that it leaves the others alone."""

from pathlib import Path

import pytest

from omsweep.cli import main
from omsweep.commands.retry import chosen_of
from tests.example_sweeps import trial
from tests.written_sweep import WrittenSweep


@pytest.fixture
def sweep(tmp_path: Path) -> WrittenSweep:
    made = WrittenSweep(tmp_path, "s")
    made.create({"objectives": {}})
    made.append(trial("good"))
    made.append(trial("lost", state="failed", error="process lost (3 times)"))
    made.append(trial("wide", state="diverged"))
    made.append(trial("broken", state="failed", error="scoring failed"))
    return made


def test_all_that_failed_or_those_that_are_named(sweep: WrittenSweep) -> None:
    assert chosen_of(sweep.state(), []) == ["lost", "broken"]
    assert chosen_of(sweep.state(), ["broken"]) == ["broken"]


@pytest.mark.parametrize("named", ["good", "wide", "unknown"])
def test_what_has_not_failed_is_refused(sweep: WrittenSweep, named: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["retry", "s", "--storage", str(sweep.storage), "--trial", named]) == 2
    assert f"{named} has not failed; failed trials of this sweep: lost, broken" in capsys.readouterr().err


def test_a_sweep_without_failures_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = WrittenSweep(tmp_path, "s")
    made.create({})
    made.append(trial("good"))
    assert main(["retry", "s", "--storage", str(tmp_path)]) == 2
    assert "no trial of this sweep has failed" in capsys.readouterr().err
    assert main(["retry", "other", "--storage", str(tmp_path)]) == 2
    assert "no sweep in" in capsys.readouterr().err
