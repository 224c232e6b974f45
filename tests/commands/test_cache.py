"""`omsweep cache`: what it lists, finds damaged and removes."""

import os
import time
from pathlib import Path

import pytest

from omsweep.cache import build_once, lock_file
from omsweep.cache.lock import locked
from omsweep.cache.manifest import MANIFEST_FILE
from omsweep.cli import main

DAY = 86_400


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("OMSWEEP_CACHE", str(tmp_path))
    return tmp_path


def built(kind: str, *, days_ago: float = 0) -> Path:
    def build(folder: Path) -> None:
        (folder / "data").write_text(kind * 1000)

    entry = build_once(kind, {"of": kind}, build)
    then = time.time() - days_ago * DAY
    os.utime(entry, (then, then))
    return entry


def damage(entry: Path) -> None:
    content = (entry / "data").read_bytes()
    (entry / "data").write_bytes(bytes(100) + content[100:])


def said(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> list[str]:
    assert main(["cache", *arguments]) == code
    return [line.rstrip() for line in capsys.readouterr().out.splitlines()]


def test_entries_are_listed_with_what_can_be_told_without_reading_them(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, short, old = built("families", days_ago=3), built("prepared"), built("replay")
    os.truncate(short / "data", 10)
    (old / MANIFEST_FILE).unlink()
    (root / "families" / f"{'0' * 16}.partial").mkdir()
    (root / "datasets" / "json").mkdir(parents=True)
    header, unfinished, first, second, third, total = said(capsys, "list")
    assert header.split() == ["kind", "entry", "size", "last", "used", "state"]
    assert first.split()[:2] == ["families", whole.name]
    assert time.strftime("%Y-%m-%d", time.localtime(time.time() - 3 * DAY)) in first
    assert first.endswith("whole")
    assert second.endswith("damaged: data has 10 bytes instead of 8,000")
    assert third.endswith("no manifest")
    assert unfinished.endswith("unfinished")
    assert total.startswith("4 entries, ")
    with locked(lock_file(root / "families" / ("0" * 16)), "builds it"):
        assert f"being built: process {os.getpid()}" in said(capsys, "list")[1]


def test_damage_is_found_and_the_next_use_repairs_it(capsys: pytest.CaptureFixture[str]) -> None:
    entry = built("families")
    built("prepared")
    assert said(capsys, "verify") == ["2 entries, 0 damaged"]
    damage(entry)
    assert said(capsys, "verify", code=1) == [
        f"families/{entry.name}: data has other content",
        "2 entries, 1 damaged",
    ]
    assert entry.is_dir()
    assert said(capsys, "verify", "--repair")[-1] == "2 entries, 1 damaged and removed"
    assert [path.name for path in entry.parent.iterdir()] == [f"{entry.name}.lock"]
    assert said(capsys, "verify") == ["1 entry, 0 damaged"]
    assert built("families") == entry


def test_an_entry_from_before_manifests_is_taken_in_by_repair(capsys: pytest.CaptureFixture[str]) -> None:
    entry = built("families")
    (entry / MANIFEST_FILE).unlink()
    assert said(capsys, "verify")[0] == f"families/{entry.name}: no manifest"
    assert said(capsys, "verify", "--repair") == ["1 entry, 0 damaged"]
    damage(entry)
    said(capsys, "verify", code=1)


def test_what_was_not_used_for_long_is_removed(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old, new = built("families", days_ago=30), built("prepared", days_ago=1)
    assert said(capsys, "prune", "--older-than", "7", "--dry-run")[0].startswith(f"would remove families/{old.name}, ")
    assert old.is_dir()
    line, total = said(capsys, "prune", "--older-than", "7")
    assert line.startswith(f"removed families/{old.name}, ")
    assert total.startswith("removed 1 entry, ")
    assert (old.exists(), new.exists()) == (False, True)
    built("families", days_ago=30)
    built("families")
    assert said(capsys, "prune", "--older-than", "7") == ["removed 0 entries, 0 bytes"]


def test_all_go_but_what_is_being_built(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    held, other = built("families"), built("prepared")
    leftover = root / "prepared" / f"{'0' * 16}.partial"
    leftover.mkdir()
    with locked(lock_file(held), "builds it"):
        lines = said(capsys, "prune", "--all")
    assert lines[0].startswith(f"kept families/{held.name}: it is held by process {os.getpid()} on ")
    assert (held.exists(), other.exists(), leftover.exists()) == (True, False, False)


@pytest.mark.parametrize("days", ["-1", "nan"])
def test_days_are_a_number_of_days(days: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cache", "prune", "--older-than", days]) == 2
    assert f"--older-than must be a number of days of at least 0, got {days}" in capsys.readouterr().err


def test_an_empty_cache(capsys: pytest.CaptureFixture[str], root: Path) -> None:
    for arguments, line in {("list",): f"0 entries, 0 bytes in {root}", ("verify",): "0 entries, 0 damaged"}.items():
        assert said(capsys, *arguments) == [line]
