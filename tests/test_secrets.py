"""Secrets are taken where they are used, and nothing a process prints, logs or raises has them afterwards."""

import errno
import io
import logging
import pickle
import sys
import traceback
from pathlib import Path
from typing import Any

import pytest
from ray import cloudpickle

from omsweep.secrets import cleaned, guard, holding, take

SECRET = "planted-9f3c2b"


@pytest.fixture(autouse=True)
def own_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """What `guard` changes is as before afterwards."""
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, getattr(sys, name))
    factory = logging.getLogRecordFactory()
    monkeypatch.setattr(logging, "_logRecordFactory", factory)
    monkeypatch.delenv("JUDGE_KEY", raising=False)


@pytest.fixture
def key(tmp_path: Path) -> Path:
    file = tmp_path / "judge"
    file.write_text(f"{SECRET}\n")
    return file


def test_a_file_is_read_into_the_environment(key: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    take({"JUDGE_KEY": f"file:{key}"}, "a worker")
    assert os.environ.pop("JUDGE_KEY") == SECRET


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("env", "its environment does not have it"),
        ("file:/nowhere/judge", "/nowhere/judge cannot be read: No such file or directory"),
        ("file:{empty}", "is empty"),
    ],
)
def test_a_missing_one_is_named_with_the_node_and_what_is_allowed(tmp_path: Path, source: str, problem: str) -> None:
    (tmp_path / "empty").touch()
    with pytest.raises(ValueError, match="^secret JUDGE_KEY is missing for the driver on .*: ") as error:
        take({"JUDGE_KEY": source.format(empty=tmp_path / "empty")}, "the driver")
    assert problem in str(error.value)
    assert "secrets.JUDGE_KEY must be env, " in str(error.value)
    assert "or file:/PATH" in str(error.value)
    assert "\n" not in str(error.value)


class Stubborn(Exception):
    """Says what it says, whatever its arguments are."""

    def __str__(self) -> str:
        return f"the key {SECRET} is wrong"


@pytest.mark.parametrize(
    "error",
    [
        ValueError(f"key {SECRET}"),
        FileNotFoundError(errno.ENOENT, "No such file", f"https://me:{SECRET}@hub/x"),
        RuntimeError(f"GET https://hub/x?token={SECRET}: 401"),
        Stubborn(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_a_function_raises_in_another_process_is_clean(
    error: Exception, key: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JUDGE_KEY", "")

    def work(caught: bool) -> None:
        if not caught:
            raise error
        try:
            raise error
        except Exception as cause:
            raise KeyError("of something else") from cause

    sent = cloudpickle.loads(cloudpickle.dumps(holding(work, {"JUDGE_KEY": f"file:{key}"}, "a worker")))
    for caught in (False, True):
        with pytest.raises(Exception, match=".") as found:
            sent(caught)
        text = "".join(traceback.format_exception(found.value))
        assert SECRET not in text
        assert SECRET.encode() not in pickle.dumps((found.value.args, vars(found.value)))
        if not isinstance(error, Stubborn):
            assert isinstance(found.value, KeyError if caught else type(error)), "what is done about it depends on this"


def test_an_error_without_secrets_stays_as_it_is() -> None:
    error = OSError(errno.ENOSPC, "No space left", "/x")
    assert cleaned(error) is error
    assert (error.errno, error.filename) == (errno.ENOSPC, "/x")


def test_what_is_printed_and_logged_is_clean(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", SECRET)
    printed, logged = io.StringIO(), io.StringIO()
    monkeypatch.setattr(sys, "stdout", printed)
    guard()
    guard()
    print(f"using {SECRET}", "http://me:hunter2@host")
    logger = logging.Logger("foreign")
    logger.addHandler(logging.StreamHandler(logged))
    logger.warning("%s: %d", SECRET, 3)
    try:
        raise ValueError(SECRET)
    except ValueError:
        logger.exception("it failed")
    logger.warning("bad %d", 4)
    assert printed.getvalue() == "using *** http://host\n"
    assert SECRET not in logged.getvalue()
    assert "***: 3\nit failed\nTraceback" in logged.getvalue()
    assert "ValueError: ***\nbad 4\n" in logged.getvalue()


def test_what_a_worker_prints_is_not_obeyed_in_the_drivers_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    printed = io.StringIO()
    monkeypatch.setattr(sys, "stdout", printed)
    holding(lambda: sys.stdout.write("\x1b[31ma\x1b]0;b\x07\n"), {}, "a worker")()
    assert printed.getvalue() == "a\\u001b]0;b\\u0007\n"


def test_a_guarded_stream_is_the_stream_otherwise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (tmp_path / "out").open("w") as file:
        monkeypatch.setattr(sys, "stdout", file)
        guard()
        stream: Any = sys.stdout
        assert (stream.fileno(), stream.encoding, stream.isatty()) == (file.fileno(), file.encoding, False)
        stream.writelines(["a\n", "b\n"])
        stream.flush()
    assert (tmp_path / "out").read_text() == "a\nb\n"
