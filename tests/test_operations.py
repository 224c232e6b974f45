"""The commands of docs/operations.md and docs/cluster.md: options and subcommands exist in the programs they name."""

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
PAGES = (PAGE, ROOT / "docs" / "cluster.md")


def commands(program: str) -> list[str]:
    """Indented lines of the pages that start with `program`, comments removed."""
    lines = [line.strip() for page in PAGES for line in page.read_text().splitlines() if line.startswith("    ")]
    return [line for line in lines if line.split()[0] == program]


def test_the_pages_show_commands_of_both_programs() -> None:
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


def test_files_and_folders_they_point_to_exist() -> None:
    text = "".join(page.read_text() for page in PAGES)
    for name in ("cluster.yaml", "requirements.lock", "jobs/sweep.py", "omsweep/engine/capacity.py"):
        assert name in text
    named = re.findall(r"(?<![\w/])(?:deploy|jobs|search_spaces)/[\w./-]*\w", text)
    assert named
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_nothing_tells_its_reader_to_turn_authentication_off() -> None:
    pages = [ROOT / "README.md", ROOT / "Makefile", ROOT / "cluster.yaml", *(ROOT / "docs").glob("*.md")]
    pages += [path for folder in ("deploy", "jobs", ".ci") for path in (ROOT / folder).rglob("*") if path.is_file()]
    assert [page.name for page in pages if "AUTH_MODE=disabled" in page.read_text()] == []
