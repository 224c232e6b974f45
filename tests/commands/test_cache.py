"""`omsweep cache`: what it lists, finds damaged and removes."""

import os
import time
from pathlib import Path

import pytest

from omsweep.cache import build_once
from omsweep.cache.content import lock_file, size_of
from omsweep.cache.lock import locked
from omsweep.cache.manifest import MANIFEST_FILE
from omsweep.cache.use import hold
from omsweep.cli import main
from tests.cache.conftest import let_go

DAY = 86_400


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("OMSWEEP_CACHE", str(tmp_path))
    return tmp_path


def built(kind: str, *, days_ago: float = 0) -> Path:
    """By a process that has ended since."""

    def build(folder: Path) -> None:
        (folder / "data").write_text(kind * 1000)

    entry = build_once(kind, {"of": kind}, build)
    let_go()
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
    header, unfinished, first, second, third, total = said(capsys, "ls")
    assert header.split() == ["kind", "entry", "size", "built", "last", "used", "state"]
    assert first.split()[:2] == ["families", whole.name]
    assert time.strftime("%Y-%m-%d", time.localtime(time.time() - 3 * DAY)) in first
    assert first.endswith("whole")
    assert second.endswith("damaged: data has 10 bytes instead of 8,000")
    assert third.endswith("no manifest")
    assert unfinished.endswith("unfinished")
    assert total.startswith("4 entries, ")
    assert ": families 8.3 kB, " in total
    with locked(lock_file(root / "families" / ("0" * 16)), "builds it"):
        assert f"being built: process {os.getpid()}" in said(capsys, "ls")[1]


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
    assert sorted(path.name for path in entry.parent.iterdir()) == [f"{entry.name}.lock", f"{entry.name}.use"]
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
    assert said(capsys, "rm", "--older-than", "7", "--dry-run")[0].startswith(f"would remove families/{old.name}, ")
    assert old.is_dir()
    line, total = said(capsys, "rm", "--older-than", "7")
    assert line.startswith(f"removed families/{old.name}, ")
    assert total.startswith("removed 1 entry, ")
    assert total.endswith(" left")
    assert (old.exists(), new.exists()) == (False, True)
    built("families", days_ago=30)
    built("families")
    assert said(capsys, "rm", "--older-than", "7")[0].startswith("removed 0 entries, 0 bytes; ")


def test_all_go_but_what_is_being_built(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    held, other = built("families"), built("prepared")
    leftover = root / "prepared" / f"{'0' * 16}.partial"
    leftover.mkdir()
    with locked(lock_file(held), "builds it"):
        lines = said(capsys, "rm", "--all")
    assert lines[0].startswith(f"kept families/{held.name}: it is held by process {os.getpid()} on ")
    assert (held.exists(), other.exists(), leftover.exists()) == (True, False, False)


def test_kinds_go_and_no_more_than_until_the_cache_is_small_enough(capsys: pytest.CaptureFixture[str]) -> None:
    old, middle, new = (built(kind, days_ago=days) for kind, days in (("c", 3), ("b", 2), ("a", 1)))
    assert said(capsys, "rm", "--to", "0.0000000001", "--kind", "b", "--dry-run")[0].startswith("would remove b/")
    assert said(capsys, "rm", "--to", "1")[0].startswith("removed 0 entries, 0 bytes; ")
    one_too_many = str((sum(map(size_of, (old, middle, new))) - 1) / 1e9)
    assert said(capsys, "rm", "--to", one_too_many)[0].startswith(f"removed c/{old.name}, ")
    assert (old.exists(), middle.exists(), new.exists()) == (False, True, True)
    assert said(capsys, "rm", "--kind", "a")[0].startswith(f"removed a/{new.name}, ")
    assert middle.exists()


def test_what_a_living_process_uses_stays(capsys: pytest.CaptureFixture[str]) -> None:
    entry = built("families")
    hold(entry)
    assert said(capsys, "ls")[1].endswith("whole, in use")
    assert said(capsys, "rm", "--all")[0] == f"kept families/{entry.name}: it is held by a process that uses it"
    let_go()
    assert said(capsys, "rm", "--all")[0].startswith(f"removed families/{entry.name}, ")


MISTAKES = {
    ("--older-than", "-1"): "--older-than must be a number of days of at least 0, got -1",
    ("--older-than", "nan"): "--older-than must be a number of days of at least 0, got nan",
    ("--to", "-1"): "--to must be a number of GB of at least 0, got -1",
    (): "cache rm needs to know which: --kind KIND, --older-than DAYS, --to GB, or --all",
    ("--kind", "famlies"): "--kind famlies has no entry in ",
}


@pytest.mark.parametrize(("arguments", "line"), MISTAKES.items())
def test_a_mistake_is_named(arguments: tuple[str, ...], line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cache", "rm", *arguments]) == 2
    assert line in capsys.readouterr().err


def test_an_empty_cache(capsys: pytest.CaptureFixture[str], root: Path) -> None:
    for arguments, line in {("ls",): f"0 entries, 0 bytes in {root}", ("verify",): "0 entries, 0 damaged"}.items():
        assert said(capsys, *arguments) == [line]
