"""The commands of docs/operations.md: options and subcommands exist in the programs they name."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from omsweep import cli
from omsweep.plan.attempts import AGAIN

pytestmark = pytest.mark.filterwarnings("ignore:Using extra keyword arguments:DeprecationWarning:ray")

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "operations.md"


def commands(program: str) -> list[str]:
    """Indented lines of the page that start with `program`, comments removed."""
    lines = [line.strip() for line in PAGE.read_text().splitlines() if line.startswith("    ")]
    return [line for line in lines if line.split()[0] == program]


def test_the_page_shows_commands_of_both_programs() -> None:
    assert len(commands("omsweep")) >= 3
    assert len(commands("ray")) >= 4


@pytest.mark.parametrize("line", commands("omsweep"))
def test_omsweep_commands_parse(line: str) -> None:
    options = cli._parser().parse_args(shlex.split(line, comments=True)[1:])
    if "space" in options:
        assert (ROOT / options.space).is_file()


@pytest.mark.parametrize("line", commands("ray"))
def test_ray_commands_parse(line: str) -> None:
    from ray.scripts.scripts import cli as command

    words = shlex.split(line, comments=True)[1:]
    parsed: Any = command
    while hasattr(parsed, "commands"):
        parsed = parsed.commands[words.pop(0)]
    context = parsed.make_context(line, words)
    if "cluster_config_file" in context.params:
        assert (ROOT / context.params["cluster_config_file"]).is_file()
    if "entrypoint" in context.params:
        python, script, *arguments = context.params["entrypoint"]
        assert python == "python"
        assert (ROOT / script).is_file()
        assert cli._parser().parse_args(["run", *arguments]).storage.startswith("/")


def test_it_says_how_often_a_lost_attempt_is_made_again() -> None:
    table = PAGE.read_text().partition("### Attempts")[2].partition("Spot instances")[0]
    rows = dict(re.findall(r"^\| `([\w ]+)` \| (\w+)", table, flags=re.MULTILINE))
    assert rows == {reason: "always" if row.times is None else str(row.times) for reason, row in AGAIN.items()}


def test_files_and_folders_it_points_to_exist() -> None:
    text = PAGE.read_text()
    for name in ("cluster.yaml", "requirements.lock", "jobs/sweep.py", "omsweep/engine/placement.py"):
        assert name in text
        assert (ROOT / name).exists()
