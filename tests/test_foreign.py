"""Whose an error is: the user's to mend, or nobody's who foresaw it."""

import errno
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pytest
import yaml
from safetensors import safe_open

from omsweep import cli
from omsweep.foreign import Refused, calling, error_line, refusal
from omsweep.merging.posthoc import PosthocPoint
from omsweep.pareto import hypervolume
from omsweep.store.folder import SweepFolder
from omsweep.strict_json import read_json, write_json


def of(call: Callable[[], object]) -> Exception:
    with pytest.raises(Exception) as raised:  # noqa: PT011
        call()
    return raised.value


def broken_weights(folder: Path) -> object:
    (folder / "model.safetensors").write_bytes(b"\xff" * 64)
    return safe_open(folder / "model.safetensors", framework="np")


def broken_table(folder: Path) -> object:
    sweep = SweepFolder(folder, "s")
    sweep.scores_folder.mkdir(parents=True)
    (sweep.scores_folder / "a.parquet").write_bytes(b"PAR1 no table PAR1")
    return sweep.scores("a")


THEIRS: dict[str, tuple[Callable[[Path], object], str]] = {
    "ours": (lambda _: hypervolume([[0, 0]], [np.nan, 1]), "reference_point must be two finite numbers"),
    "of a constructor": (lambda _: PosthocPoint(method="linear", weight=7.0), "weight of linear must be"),
    "ours from another": (lambda folder: read_json((folder / "a").absolute()), "No such file"),
    "no file": (lambda folder: (folder / "a").read_text(), "/a: No such file or directory"),
    "a template": (lambda _: jinja2.Template("{% if %}"), "TemplateSyntaxError: Expected an expression"),
    "YAML": (lambda _: yaml.safe_load("a: ["), "ParserError"),
    "weights": (broken_weights, "SafetensorError"),
    "a table": (broken_table, "/s/scores/a.parquet: pyarrow.lib.ArrowInvalid: "),
}
NOBODYS: dict[str, Callable[[], object]] = {
    "numpy, called here": lambda: np.zeros(2) @ np.zeros(3),
    "numpy, called by omsweep": lambda: hypervolume(["text"], [1.0, 1.0]),  # type: ignore[list-item]
    "json, called by omsweep": lambda: write_json(Path("/tmp/never.json"), float("nan")),
    "a key": lambda: {}["a"],
    "the machine": lambda: (_ for _ in ()).throw(OSError(errno.EIO, "Input/output error")),
}


@pytest.mark.parametrize("whose", THEIRS)
def test_what_the_user_can_mend_is_said(tmp_path: Path, whose: str) -> None:
    call, said = THEIRS[whose]
    text = refusal(of(lambda: call(tmp_path)))
    assert text is not None
    assert said in text


@pytest.mark.parametrize("whose", NOBODYS)
def test_what_nobody_foresaw_is_not_the_users(whose: str) -> None:
    assert refusal(of(NOBODYS[whose])) is None


def test_at_a_call_that_reads_what_the_user_gave_every_error_says_what_was_done() -> None:
    def read() -> None:
        with calling("read the model of x"):
            {}["qwen9"]

    assert refusal(of(read)) == "cannot read the model of x: KeyError: 'qwen9'"

    def refuse() -> None:
        with calling("read the model of x"):
            PosthocPoint(method="linear", weight=7.0)

    assert str(refusal(of(refuse))).startswith("weight of linear must be")


def test_the_line_of_a_ray_task_is_what_was_raised_in_it() -> None:
    error = RuntimeError("ray::task() " + "line\n" * 50)
    error.cause = Refused("no such suite")  # type: ignore[attr-defined]
    assert error_line(error) == "omsweep.foreign.Refused: no such suite"


def test_a_command_that_fails_by_surprise_says_where_the_traceback_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def execute(_: Any) -> int:
        np.zeros(2) @ np.zeros(3)
        return 0

    monkeypatch.setattr("omsweep.commands.families.execute", execute)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.delenv("OMSWEEP_TRACEBACK", raising=False)
    assert cli.main(["families"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    found = re.fullmatch(r"omsweep: families was stopped by ValueError: matmul.*; the traceback is in (\S+)", line)
    assert found is not None
    assert "np.zeros(2) @ np.zeros(3)" in Path(found[1]).read_text()
    monkeypatch.setenv("OMSWEEP_TRACEBACK", "1")
    with pytest.raises(ValueError, match="matmul"):
        cli.main(["families"])


def test_a_lack_of_memory_stays_what_it_is() -> None:
    with pytest.raises(MemoryError), calling("load the model of x"):
        raise MemoryError
