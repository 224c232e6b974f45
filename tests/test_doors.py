"""Every way into omsweep by which a URI comes in refuses one with a secret, before anything is written."""

import argparse
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from omsweep import cli
from omsweep.cli import BAD_USAGE, main
from omsweep.cluster.dashboard import connect
from omsweep.cluster.storage import check_job_storage, check_job_tracking, check_tracking, storage_path
from omsweep.cluster.submit import submit_sweep
from omsweep.commands.check.load import load_checked
from omsweep.engine.run import run_sweep
from omsweep.space.load import load_space
from omsweep.space.yaml_text import SpaceFileError

URIS = (
    "https://me:hunter2@host/x",
    "https://hunter2@host/x",
    "s3://key:hunter2@bucket/x",
    "https://bucket.s3.amazonaws.com/x?X-Amz-Signature=hunter2",
    "https://account.blob.core.windows.net/x?sig=hunter2",
    "postgresql://db/x?password=hunter2",
)
SPACE = """
name: s
mode: compare
families: [{}]
preferences: {}
space: {{algorithm: dpo, learning_rate: 5.0e-4, beta: 0.1, method: {{adamw: {{}}}}}}
evaluate: {{tax: {}, reward: {{scorer: tiny, prompts: {}}}}}
x-unused: {}
"""
FILLED = ["tiny-llama", "tiny", "tiny", "tiny", "nothing"]


def commands(parser: argparse.ArgumentParser, words: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Each option with a value, and each argument, of each command: the words up to it."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, sub in action.choices.items():
                yield from commands(sub, (*words, name))
        elif action.option_strings and action.nargs != 0:
            yield (*words, action.option_strings[-1])
        elif not action.option_strings:
            yield words


DOORS = list(dict.fromkeys(commands(cli._parser())))


def test_there_are_doors() -> None:
    assert {("run", "--tracking-uri"), ("submit", "--address"), ("tau", "inspect"), ("prefs", "--model")} <= {*DOORS}


@pytest.mark.parametrize("words", DOORS, ids=" ".join)
def test_every_option_and_argument_of_every_command(
    words: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    option = words[-1] if words[-1].startswith("--") else "an argument"
    for uri in URIS:
        ways = [[*words, uri]] + ([[*words[:-1], f"{option}={uri}"]] if option in words else [])
        ways += [[*words, f"families[0].base={uri}"], [*words, f"families=[{{base: '{uri}'}}]"]]
        for way in ways:
            assert main(way) == BAD_USAGE, way
            said = capsys.readouterr()
            (line,) = (said.out + said.err).splitlines()
            assert line.startswith(f"omsweep: {option} must not hold a user name, password or key"), line
            assert "hunter2" not in line
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("place", range(len(FILLED)))
def test_every_value_of_a_search_space_file(place: int, tmp_path: Path) -> None:
    for uri in URIS:
        values = [f"'{uri}'" if i == place else value for i, value in enumerate(FILLED)]
        file = tmp_path / "space.yaml"
        file.write_text(SPACE.format(*values))
        with pytest.raises(SpaceFileError, match="space.yaml: [-.a-z0-9]+ must not hold a user name") as error:
            load_checked(file)
        assert "hunter2" not in str(error.value)


PLACES: dict[str, Any] = {
    "tracking": check_tracking,
    "tracking in a job": check_job_tracking,
    "storage": lambda uri: storage_path(uri, "runs"),
    "storage in a job": check_job_storage,
    "dashboard": connect,
    "run_sweep": lambda uri: run_sweep(_space(), "s", Path("runs"), uri),
    "submit_sweep": lambda uri: submit_sweep(
        *(Path("space.yaml"), _space()),
        overrides=(),
        address=None,
        name="s",
        storage="/shared",
        tracking_uri=uri,
        wait=False,
    ),
    "--set": lambda uri: load_space(_file(), [f"preferences.path={uri}"]),
}


@pytest.mark.parametrize(("place", "uri"), list(itertools.product(PLACES, URIS)))
def test_every_function_that_is_given_a_uri(
    place: str, uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="must not hold a user name, password or key, which others can see; ") as error:
        PLACES[place](uri)
    assert "hunter2" not in str(error.value)
    assert {one.name for one in tmp_path.iterdir()} <= {"space.yaml"}


@pytest.mark.parametrize("variable", ["RAY_API_SERVER_ADDRESS", "RAY_ADDRESS"])
def test_addresses_of_the_environment(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, "http://me:hunter2@host:8265")
    with pytest.raises(ValueError, match=f"{variable} must not hold.*RAY_AUTH_TOKEN") as error:
        connect(None)
    assert "hunter2" not in str(error.value)


def _file() -> Path:
    file = Path("space.yaml")
    file.write_text(SPACE.format(*FILLED))
    return file


def _space() -> Any:
    return load_space(_file())
