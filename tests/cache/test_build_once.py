"""A folder of the cache is whole or absent; a damaged one is built again, once."""

import errno
import logging
import os
import time
from contextlib import nullcontext
from pathlib import Path

import pytest

from omsweep.cache import build_once, manifest, try_out
from omsweep.cache.manifest import MANIFEST_FILE, write_manifest
from tests.cache.conftest import KIND, RECIPE, StartBuilder, wait_until

WEIGHTS = "model.safetensors"
ZEROED = 100_000


class Build:
    """Builds a folder as a model's may be, the same each time; counts how often."""

    times = 0

    def __call__(self, folder: Path) -> None:
        self.times += 1
        (folder / WEIGHTS).write_bytes(bytes(range(1, 251)) * 1000)
        (folder / "config.json").write_text("{}")
        (folder / "parts").mkdir()
        (folder / "parts" / "1.npy").write_bytes(b"part")


@pytest.fixture
def build() -> Build:
    return Build()


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def as_another_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifest, "_checked", {})


def overwrite(file: Path, content: bytes, *, at: int = 0) -> None:
    """Change a file in place, under the same time."""
    before = file.stat()
    with file.open("r+b") as opened:
        opened.seek(at)
        opened.write(content)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def zero(entry: Path) -> None:
    overwrite(entry / WEIGHTS, bytes(ZEROED), at=50_000)


DAMAGE = {
    f"{WEIGHTS} has other content": zero,
    f"{WEIGHTS} has 200,000 bytes instead of 250,000": lambda entry: os.truncate(entry / WEIGHTS, 200_000),
    f"{WEIGHTS} is missing": lambda entry: (entry / WEIGHTS).unlink(),
    "parts/1.npy has other content": lambda entry: overwrite(entry / "parts" / "1.npy", b"trap"),
    "recipe.json is missing": lambda entry: (entry / "recipe.json").unlink(),
    "adapter_config.json was added": lambda entry: (entry / "adapter_config.json").write_text("{}"),
    f"{MANIFEST_FILE} is broken": lambda entry: (entry / MANIFEST_FILE).write_text('{"version": 1, "fi'),
}


@pytest.mark.parametrize("wrong", DAMAGE)
def test_a_damaged_entry_is_named_and_built_again(
    wrong: str, tmp_path: Path, build: Build, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = build_once(KIND, RECIPE, build, root=tmp_path)
    whole = contents(entry)
    DAMAGE[wrong](entry)
    as_another_process(monkeypatch)
    assert build_once(KIND, RECIPE, build, root=tmp_path) == entry
    assert (build.times, contents(entry)) == (2, whole)
    assert [record.getMessage() for record in caplog.records] == [
        f"cache entry {entry} is damaged ({wrong}): it is built again"
    ]
    assert build_once(KIND, RECIPE, build, root=tmp_path) == entry
    assert build.times == 2


def test_a_process_that_has_read_an_entry_notices_a_later_change(tmp_path: Path, build: Build) -> None:
    entry = build_once(KIND, RECIPE, build, root=tmp_path)
    build_once(KIND, RECIPE, build, root=tmp_path)
    whole = contents(entry)
    (entry / WEIGHTS).write_bytes(bytes(250_000))
    build_once(KIND, RECIPE, build, root=tmp_path)
    assert (build.times, contents(entry)) == (2, whole)


def test_zeros_in_a_cached_model_do_not_reach_who_loads_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from omsweep.families.load import weights_hash
    from omsweep.families.tiny.architecture import random_family

    def build(folder: Path) -> None:
        random_family(folder)

    entry = build_once("families", RECIPE, build, root=tmp_path)
    before = weights_hash(str(entry))
    zero(entry)
    assert weights_hash(str(entry)) != before
    as_another_process(monkeypatch)
    assert weights_hash(str(build_once("families", RECIPE, build, root=tmp_path))) == before


def test_what_is_added_to_an_entry_is_no_damage(tmp_path: Path, build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = build_once(KIND, RECIPE, build, root=tmp_path)
    (entry / "reference").mkdir()
    for name in ("reference/1.npy", "reference/0-of-1.lock", "cache-12ab.arrow", "notes.txt"):
        (entry / name).write_text("later")
    as_another_process(monkeypatch)
    build_once(KIND, RECIPE, build, root=tmp_path)
    assert build.times == 1


def test_content_is_read_once_by_a_process_and_of_a_large_entry_once_by_all(
    tmp_path: Path, build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    digest = manifest.sha256_of
    monkeypatch.setattr(manifest, "sha256_of", lambda file: (read.append(file.name), digest(file))[1])

    def files_read(small: int) -> list[str]:
        read.clear()
        as_another_process(monkeypatch)
        monkeypatch.setattr(manifest, "SMALL_BYTES", small)
        for _ in range(3):
            build_once(KIND, RECIPE, build, root=tmp_path)
        return sorted(read)

    every = ["1.npy", "config.json", WEIGHTS, "recipe.json"]
    entry = build_once(KIND, RECIPE, build, root=tmp_path)
    assert files_read(manifest.SMALL_BYTES) == every
    assert files_read(1000) == every
    assert files_read(1000) == []
    (entry / WEIGHTS).touch()
    assert files_read(1000) == every
    assert build.times == 1


def test_an_entry_from_before_manifests_is_taken_in(
    tmp_path: Path, build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = build_once(KIND, RECIPE, build, root=tmp_path)
    (entry / MANIFEST_FILE).unlink()
    (entry / "reference").mkdir()
    being_written = entry / "reference" / "1.partial"
    being_written.touch()
    build_once(KIND, RECIPE, build, root=tmp_path)
    assert build.times == 1
    being_written.unlink()
    as_another_process(monkeypatch)
    build_once(KIND, RECIPE, build, root=tmp_path)
    assert build.times == 1
    zero(entry)
    as_another_process(monkeypatch)
    build_once(KIND, RECIPE, build, root=tmp_path)
    assert build.times == 2


def test_one_without_its_recipe_is_not(tmp_path: Path, build: Build, entry: Path) -> None:
    entry.mkdir(parents=True)
    build_once(KIND, RECIPE, build, root=tmp_path)
    assert build.times == 1
    assert (entry / WEIGHTS).is_file()


@pytest.mark.parametrize(("error", "builds"), [(errno.EACCES, 1), (errno.ESTALE, 1), (errno.EIO, 2)])
def test_what_this_process_may_not_read_is_not_damaged_what_the_disk_cannot_read_is(
    error: int, builds: int, tmp_path: Path, build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = build_once(KIND, RECIPE, build, root=tmp_path)
    as_another_process(monkeypatch)

    def unreadable(file: Path) -> str:
        if build.times == 1:
            raise OSError(error, os.strerror(error), str(file))
        return ""

    monkeypatch.setattr(manifest, "sha256_of", unreadable)
    with nullcontext() if builds == 2 else pytest.raises(OSError, match=os.strerror(error)):
        build_once(KIND, RECIPE, build, root=tmp_path)
    assert (build.times, entry.is_dir()) == (builds, True)


def test_a_cache_that_cannot_be_written_is_read(tmp_path: Path, build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = build_once(KIND, RECIPE, build, root=tmp_path)
    monkeypatch.setattr(os, "access", lambda *_: False)
    zero(entry)
    as_another_process(monkeypatch)
    with pytest.raises(ValueError, match=rf"{WEIGHTS} has other content\), and .* cannot be written"):
        build_once(KIND, RECIPE, build, root=tmp_path)
    (entry / MANIFEST_FILE).unlink()
    assert build_once(KIND, RECIPE, build, root=tmp_path) == entry
    assert not (entry / MANIFEST_FILE).exists()


def test_a_cache_is_tried_without_leaving_anything(tmp_path: Path) -> None:
    try_out(tmp_path / "new")
    assert list((tmp_path / "new").iterdir()) == []
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ValueError, match=rf"{tmp_path}/file/c cannot be written: Not a dir"):
        try_out(tmp_path / "file" / "c")


def test_what_killed_processes_left_when_they_tried_the_cache_goes(tmp_path: Path) -> None:
    dead, living = tmp_path / ".tried-dead", tmp_path / ".tried-living"
    for left in (dead, living):
        (left / "partial").mkdir(parents=True)
    then = time.time() - 3600
    os.utime(dead, (then, then))
    try_out(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [living.name]


def test_a_cache_that_can_only_be_read_is_fine_where_it_has_entries(
    tmp_path: Path, build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_only(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    with monkeypatch.context() as patched:
        patched.setattr("omsweep.cache.tempfile.TemporaryDirectory", read_only)
        with pytest.raises(ValueError, match="cannot be written: Read-only file system"):
            try_out(tmp_path)
    build_once(KIND, RECIPE, build, root=tmp_path)
    monkeypatch.setattr("omsweep.cache.tempfile.TemporaryDirectory", read_only)
    try_out(tmp_path)


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()], ids=["full", "ctrl-c"])
def test_a_build_that_fails_leaves_nothing(tmp_path: Path, build: Build, entry: Path, error: BaseException) -> None:
    def failing(folder: Path) -> None:
        build(folder)
        raise error

    with pytest.raises(type(error)):
        build_once(KIND, RECIPE, failing, root=tmp_path)
    assert sorted(path.name for path in entry.parent.iterdir()) == [f"{entry.name}.lock", f"{entry.name}.use"]


def test_a_manifest_is_written_in_one_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data").write_text("content")
    monkeypatch.setattr(Path, "replace", lambda *_: pytest.fail("killed here"))
    with pytest.raises(pytest.fail.Exception):
        write_manifest(tmp_path, [tmp_path / "data"])
    assert not (tmp_path / MANIFEST_FILE).exists()


def test_a_builder_that_is_killed_half_way_leaves_no_entry_and_no_lock(
    tmp_path: Path, build: Build, entry: Path, start_builder: StartBuilder, caplog: pytest.LogCaptureFixture
) -> None:
    builder = start_builder(seconds=60)
    half = entry.with_name(f"{entry.name}.partial") / "half"
    wait_until(half.exists)
    assert not entry.exists()
    builder.kill()
    builder.wait()
    assert half.exists()
    build_once(KIND, RECIPE, build, root=tmp_path)
    assert (build.times, (entry / "half").exists(), half.exists()) == (1, False, False)
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_two_processes_that_find_an_entry_damaged_repair_it_once(
    tmp_path: Path, entry: Path, start_builder: StartBuilder
) -> None:
    start_builder(seconds=0).wait()
    (entry / "data").write_text("damaged")
    both = [start_builder(seconds=0.5) for _ in range(2)]
    assert [process.wait(timeout=30) for process in both] == [0, 0]
    assert (entry / "data").read_text() == "content"
    assert (tmp_path / "builds").read_text() == "built\n" * 2
