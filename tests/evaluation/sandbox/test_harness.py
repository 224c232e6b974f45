"""The text that runs inside can be taken alone: it imports the standard library only."""

import ast
import sys
from pathlib import Path

import pytest

from omsweep.evaluation.sandbox import cpp_harness, harness


@pytest.mark.parametrize("module", [harness, cpp_harness])
def test_what_runs_inside_needs_no_package(module: object) -> None:
    tree = ast.parse(Path(str(module.__file__)).read_text())  # type: ignore[attr-defined]
    names = [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    names += [str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    assert {*names} <= {*sys.stdlib_module_names}


def test_outputs_are_the_same_but_for_spaces_at_ends_of_lines() -> None:
    assert cpp_harness.lines("1 2 \n3\n\n") == cpp_harness.lines("1 2\n3") == ["1 2", "3"]
    assert cpp_harness.lines("1  2") != cpp_harness.lines("1 2")
