"""The layers hold, the mathematics stands alone, and the command line answers without the heavy libraries."""

import re
import subprocess
import sys
import textwrap
from collections import Counter
from pathlib import Path

import pytest

from tests.space_files import stand_ins

ROOT = Path(__file__).parent.parent
VAGUE = {"utils", "util", "helpers", "helper", "common", "core", "base", "misc", "types"}
HEAVY = ["ray", "trl", "transformers", "datasets", "mlflow", "lm_eval"]


def run_blocked(blocked: list[str], code: str) -> subprocess.CompletedProcess[str]:
    """Run `code` in a fresh interpreter in which importing any of `blocked` fails."""
    program = f"""
    import sys

    class Blocker:
        def find_spec(self, name, path=None, target=None):
            if name.split(".")[0] in {blocked!r}:
                raise ImportError("blocked: " + name)

    sys.meta_path.insert(0, Blocker())
    """
    program = textwrap.dedent(program) + textwrap.dedent(code)
    return subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)


def test_importing_the_package_imports_nothing() -> None:
    result = run_blocked(["torch", "numpy", *HEAVY], "import omsweep")
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("package", ["merging", "optim"])
def test_the_optimizer_works_with_torch_alone(package: str) -> None:
    code = f"""
    import omsweep.{package} as package
    for name in package.__all__:
        getattr(package, name)
    """
    result = run_blocked([*HEAVY, "pandas", "optuna", "pydantic", "scipy"], code)
    assert result.returncode == 0, result.stderr


def test_pareto_needs_only_numpy() -> None:
    code = """
    import omsweep.pareto as package
    for name in package.__all__:
        getattr(package, name)
    """
    result = run_blocked(["torch", *HEAVY, "pandas", "optuna", "pydantic"], code)
    assert result.returncode == 0, result.stderr


def test_comparing_arms_needs_neither_torch_nor_ray() -> None:
    code = """
    import omsweep.results.comparison.findings
    import omsweep.results.comparison.question
    import omsweep.results.comparison.spread
    """
    result = run_blocked(["torch", *HEAVY, "optuna", "pandas", "pydantic"], code)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["check", "search_spaces/demo.yaml"],
        ["check", "search_spaces/demo.yaml", "--set", "families=[olmo-2-1b]", "--set", "train.batch_size=2"],
        ["families"],
        ["families", "--json"],
        ["--help"],
        ["tau", "inspect", "--help"],
        ["merge", "--help"],
        ["prefs", "--help"],
    ],
)
def test_the_command_line_answers_without_the_heavy_libraries(arguments: list[str]) -> None:
    code = f"""
    from omsweep.cli import main
    sys.exit(main({arguments!r}))
    """
    result = run_blocked(["torch", *HEAVY], code)
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip()


def test_every_search_space_of_the_project_passes_check_without_the_heavy_libraries() -> None:
    paths = sorted((ROOT / "search_spaces").rglob("*.yaml"))
    files = [[str(path.relative_to(ROOT)), *(f"--set={one}" for one in stand_ins(path))] for path in paths]
    assert len(files) > 15
    code = f"""
    from omsweep.cli import main
    for file in {files!r}:
        if main(["check", *file]) != 0:
            sys.exit(file[0])
    """
    result = run_blocked(["torch", *HEAVY], code)
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("ok search_spaces/") == len(files)


def test_no_room_has_more_files_than_one_can_keep_in_mind() -> None:
    folders = Counter(file.parent.relative_to(ROOT) for file in (ROOT / "omsweep").rglob("*.py"))
    assert {str(folder): count for folder, count in folders.items() if count > 20} == {}


def test_no_file_has_a_name_that_says_nothing() -> None:
    files = [p for p in (ROOT / "omsweep").rglob("*.py") if p.stem in VAGUE]
    assert not files


@pytest.mark.parametrize(
    ("library", "homes"),
    [
        ("mlflow", ("sinks/",)),
        ("lm_eval", ("evaluation/",)),
        ("trl", ("align/",)),
        ("peft", ("align/",)),
        ("ray", ("engine/", "cluster/")),
    ],
)
def test_a_library_is_imported_in_its_room_alone(library: str, homes: tuple[str, ...]) -> None:
    for path in (ROOT / "omsweep").rglob("*.py"):
        inside = path.relative_to(ROOT / "omsweep").as_posix().startswith(homes)
        imports = re.search(rf"^\s*(import|from) {library}\b", path.read_text(), re.MULTILINE)
        assert inside or not imports, f"{path} imports {library}"
