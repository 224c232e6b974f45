"""A cache with a limit: the longest unused entries go, never those that a living process builds or uses."""

import os
import time
from pathlib import Path

import pytest

from omsweep.cache import build_once, try_out
from omsweep.cache.content import LIMIT, entries, keep_within, lock_file, name_of
from omsweep.cache.lock import locked
from omsweep.cache.use import hold, noted
from tests.cache.conftest import KIND, StartBuilder, let_go, wait_until

SIZE = 100_000


def built(root: Path, number: int, *, days_ago: float = 0) -> Path:
    """By a process that has ended since."""
    entry = build_once(KIND, {"number": number}, lambda folder: data_in(folder), root=root)
    let_go()
    then = time.time() - days_ago * 86_400
    os.utime(entry, (then, then))
    return entry


def data_in(folder: Path) -> None:
    (folder / "data").write_bytes(bytes(SIZE))


def there(root: Path) -> set[str]:
    return {name_of(path) for path in entries(root)}


def test_a_build_is_followed_by_what_the_limit_asks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    first, second, third = (built(tmp_path, n, days_ago=9 - n) for n in range(3))
    build_once(KIND, {"number": 0}, data_in, root=tmp_path)  # its last use is now
    let_go()
    monkeypatch.setenv(LIMIT, "0.00031")
    fourth = build_once(KIND, {"number": 3}, data_in, root=tmp_path)
    assert there(tmp_path) == {name_of(path) for path in (first, third, fourth)}
    [said] = [record.getMessage() for record in caplog.records]
    assert said == (
        f"the cache {tmp_path} was larger than $OMSWEEP_CACHE_GB, 0.00031 GB: removed 1 entry, 0.0001 GB,"
        " not used for the longest time"
    )
    assert not second.exists()


def test_what_is_built_or_used_or_new_stays_and_that_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    used, locked_, _free = (built(tmp_path, n, days_ago=9 - n) for n in range(3))
    hold(used)
    with locked(lock_file(locked_), "builds it"):
        keep_within(tmp_path, 1)
    assert there(tmp_path) == {name_of(used), name_of(locked_)}
    assert "; the 0.000201 GB that stay are in use" in caplog.records[0].getMessage()
    monkeypatch.setenv(LIMIT, "1e-9")
    new = build_once(KIND, {"number": 3}, data_in, root=tmp_path)
    assert there(tmp_path) == {name_of(used), name_of(new)}


def test_another_process_that_lives_keeps_its_entry_and_one_that_was_killed_does_not(
    tmp_path: Path, entry: Path, start_builder: StartBuilder
) -> None:
    builder = start_builder(seconds=0, lives=60)
    wait_until((tmp_path / "done").exists)
    keep_within(tmp_path, 1)
    assert entry.exists()
    builder.kill()
    builder.wait()
    keep_within(tmp_path, 1)
    assert not entry.exists()


@pytest.mark.parametrize("size", ["0", "-1", "nan", "inf", "ten"])
def test_a_limit_is_a_size(size: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(LIMIT, size)
    with pytest.raises(ValueError, match=rf"\$OMSWEEP_CACHE_GB must be a number of GB above 0, got '{size}'"):
        try_out(tmp_path)


def test_who_asks_is_told_what_was_built(tmp_path: Path) -> None:
    def outer(folder: Path) -> None:
        build_once(KIND, {"number": 1}, data_in, root=tmp_path)

    for made in (True, False):
        with noted() as found:
            for _ in range(2):
                build_once(KIND, {"number": 2}, outer, root=tmp_path)
        assert list(found.values()) == [made, made] if made else [made]
    build_once(KIND, {"number": 3}, data_in, root=tmp_path)
    assert len(found) == 1
