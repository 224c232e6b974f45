"""Every hostile program is held here, and a sandbox with a hole in it is noticed."""

import struct
from pathlib import Path
from typing import Any

import pytest

from omsweep.evaluation.sandbox import battery, launcher, seccomp
from omsweep.evaluation.sandbox import run as running
from omsweep.evaluation.sandbox.battery import LIMITS, TOKEN_VARIABLE, run_battery
from omsweep.evaluation.sandbox.hostile import HOSTILE
from omsweep.evaluation.sandbox.limits import OUTCOMES, Limits

pytestmark = pytest.mark.usefixtures("sandbox")


def test_every_hostile_program_is_held() -> None:
    counted: list[None] = []
    rows = run_battery(done=lambda: counted.append(None))
    assert [(row.hostile.name, row.verdict) for row in rows if not row.held] == []
    assert len(rows) == len(counted) == len(HOSTILE) >= 30
    assert len({one.name for one in HOSTILE}) == len(HOSTILE)
    assert {outcome for one in HOSTILE for outcome in one.outcomes} <= {*OUTCOMES}


def _held(monkeypatch: pytest.MonkeyPatch, name: str) -> bool:
    monkeypatch.setattr(battery, "HOSTILE", tuple(one for one in HOSTILE if one.name == name))
    (row,) = run_battery()
    return row.held


@pytest.mark.parametrize(
    ("name", "limits"),
    [
        ("a full disk", {"disk_mib": 200}),
        ("a folder full of files", {"files": 20_000}),
        ("a fork bomb", {"processes": 100}),
        ("open files without end", {"open_files": 1000}),
        ("output without end", {"output_kib": 10_000_000, "wall_seconds": 1}),
    ],
)
def test_a_limit_that_is_too_wide_is_noticed(
    monkeypatch: pytest.MonkeyPatch, name: str, limits: dict[str, Any]
) -> None:
    wide = {**vars(LIMITS), **limits}
    monkeypatch.setattr(battery, "LIMITS", Limits(**wide))
    assert not _held(monkeypatch, name)


def test_files_and_variables_that_leak_are_noticed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TMPDIR", "/var/tmp")
    monkeypatch.setattr("tempfile.tempdir", "/var/tmp")
    monkeypatch.setattr(running, "_SYSTEM", (*running._SYSTEM, "/var"))
    assert not _held(monkeypatch, "a file of the machine")
    assert not _held(monkeypatch, "a link to a file of the machine")
    monkeypatch.setattr(running, "_ENVIRONMENT", {**running._ENVIRONMENT, TOKEN_VARIABLE: "x"})
    assert not _held(monkeypatch, "secrets of the environment")


def test_a_filter_that_denies_nothing_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seccomp, "program", lambda machine: struct.pack("HBBI", 0x06, 0, 0, 0x7FFF0000))
    for name in ("sockets of every other family", "memory that no process owns"):
        assert not _held(monkeypatch, name)


def test_the_launcher_needs_nothing_but_the_standard_library() -> None:
    text = Path(launcher.__file__).read_text()
    assert "from omsweep" not in text
