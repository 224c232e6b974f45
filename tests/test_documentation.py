"""What README and docs show works as it stands: commands parse, search spaces load, files and links exist."""

import re
import shlex
from dataclasses import fields
from pathlib import Path

import pytest

from omsweep import cli
from omsweep.results.progress import Progress
from omsweep.space.load import load_space
from omsweep.space.yaml_text import SpaceFileError

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").glob("*.md"))]
TUTORIAL = ROOT / "docs" / "tutorial.md"
HEREDOC = re.compile(r"^cat > (\S+) <<'END'\n(.*?)^END$", flags=re.MULTILINE | re.DOTALL)


def blocks(page: Path, language: str) -> list[str]:
    """The page's fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), flags=re.MULTILINE | re.DOTALL)


def commands(page: Path, program: str) -> list[str]:
    """Indented lines, and lines of fenced shell blocks, that start with `program`."""
    lines = [line.strip() for line in page.read_text().splitlines() if line.startswith("    ")]
    lines += [line for block in blocks(page, "sh") for line in block.splitlines()]
    return [line for line in lines if line.split()[:1] == [program]]


def written(page: Path) -> dict[str, str]:
    """Files that the page has its reader write, by name: `cat > NAME <<'END'`; README calls its own mine.yaml."""
    found = {name: text for block in blocks(page, "sh") for name, text in re.findall(HEREDOC, block)}
    if page == README:
        found["mine.yaml"] = blocks(page, "yaml")[0]
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_omsweep_command_parses_and_its_file_is_there(page: Path) -> None:
    lines = commands(page, "omsweep")
    assert lines or page not in (README, TUTORIAL)
    for line in lines:
        options = cli._parser().parse_args(shlex.split(line, comments=True)[1:])
        if "space" in options:
            assert str(options.space) in written(page) or (ROOT / options.space).is_file(), line


@pytest.mark.parametrize("page", [README, TUTORIAL], ids=lambda page: page.stem)
def test_the_search_spaces_that_a_page_writes_load_with_every_override_it_shows(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for file in ("pairs.jsonl", "prompts.jsonl"):
        Path(file).touch()
    for name, text in written(page).items():
        Path(name).write_text(text)
        lines = [line for line in commands(page, "omsweep") if name in line and not line.endswith("# refused")]
        assert lines
        for line in lines:
            options = cli._parser().parse_args(shlex.split(line, comments=True)[1:])
            assert load_space(Path(name), getattr(options, "overrides", [])).branches


def test_the_mistake_in_the_tutorial_is_refused(tmp_path: Path) -> None:
    (line,) = [line for line in commands(TUTORIAL, "omsweep") if line.endswith("# refused")]
    options = cli._parser().parse_args(shlex.split(line, comments=True)[1:])
    file = tmp_path / options.space
    file.write_text(written(TUTORIAL)[file.name])
    with pytest.raises(SpaceFileError, match=r"space.method.ondare.density: density must be in \(0, 1\], got 2"):
        load_space(file, options.overrides)


def test_every_target_of_make_that_a_page_names_is_one() -> None:
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    named = {line.split()[1] for page in PAGES for line in commands(page, "make")}
    assert {"demo", "test", "setup"} <= named <= targets


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if target.startswith("https://"):
            continue
        name, _, anchor = target.partition("#")
        file = page if not name else (page.parent / name).resolve()
        assert file.exists(), target
        assert not anchor or anchor in anchors(file), target


def anchors(page: Path) -> list[str]:
    """The names GitHub gives to a page's headings."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), flags=re.MULTILINE)
    return [re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings]


def test_every_page_is_in_the_index() -> None:
    index = (ROOT / "docs" / "index.md").read_text()
    assert [page.name for page in PAGES[1:] if page.name != "index.md" and f"({page.name})" not in index] == []


def test_every_key_of_status_as_data_is_on_the_page_of_commands() -> None:
    table = (ROOT / "docs" / "commands.md").read_text().partition("`--json` prints")[2].partition("## The cache")[0]
    rows = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \|", table, flags=re.MULTILINE)
    found = {"name", "scored", "hypervolume", "families", *(field.name for field in fields(Progress))}
    assert {name for row in rows for name in re.findall(r"\w+", row)} == found


def test_the_readme_is_short() -> None:
    assert len(README.read_text().splitlines()) <= 120


@pytest.mark.parametrize("name", ["README.md", "docs/architecture.md"])
def test_every_path_of_the_project_that_a_page_names_exists(name: str) -> None:
    paths = re.findall(r"`((?:omsweep|tests|jobs|search_spaces|benchmarks)/[\w./-]+)`", (ROOT / name).read_text())
    assert [path for path in paths if not (ROOT / path).exists()] == []
