"""The benchmarks by name: the job that runs an answer's program with a problem's tests. No lm-eval, no torch."""

import ast
import builtins
import json
import re
import shutil
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from omsweep.evaluation.programs.extraction import cpp_function, python_function, python_lines
from omsweep.evaluation.sandbox.cpp import COMPILER, cpp_job
from omsweep.evaluation.sandbox.limits import Limits
from omsweep.evaluation.sandbox.run import Job, python_job

Doc = Mapping[str, Any]

SHORT = Limits(wall_seconds=30, cpu_seconds=10, memory_mib=1024)
"""Of HumanEval and MBPP, whose own harnesses stop a program after 3 s; processor time counts, as cores are shared."""
LIBRARIES = Limits(
    wall_seconds=240, cpu_seconds=120, memory_mib=4096, address_mib=1 << 16, processes=64, disk_mib=256, file_mib=128
)
"""Of DS-1000, as its own harness's 120 s; importing a library takes seconds and addresses."""
COMPILED = Limits(wall_seconds=120, cpu_seconds=30, memory_mib=1024)
"""Of CodeApex with the compiler; a test's own limits are the problem's."""

_IMPORTED = re.compile(r"^[ \t]*(?:import|from)[ \t]+(\w+)", re.M)


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """A benchmark whose answers are programs.

    Args:
        job: of a document and an answer; None where the answer holds no program.
        reference: the answer that a document carries as its solution; None where it carries none.
        mutilated: the same with the function's work taken out.
        needs: modules that a document's program imports.
    """

    job: Callable[[Doc, str], Job | None]
    reference: Callable[[Doc], str | None]
    mutilated: Callable[[Doc], str]
    needs: Callable[[Doc], Iterable[str]] = lambda doc: ()


def humaneval_job(doc: Doc, answer: str) -> Job | None:
    """As HumanEval's own harness runs a problem: the program, the tests, `check(entry_point)`."""
    code = python_function(answer, doc["entry_point"], doc["prompt"])
    return python_job(f"{code}\n{doc['test']}\ncheck({doc['entry_point']})\n", SHORT) if code else None


def mbpp_job(doc: Doc, answer: str) -> Job | None:
    """The program, the problem's setup, then each of its assertions."""
    code = python_function(answer, mbpp_entry_point(doc))
    tests = "\n".join((doc.get("test_setup_code") or "", *doc["test_list"]))
    return python_job(f"{code}\n{tests}\n", SHORT) if code else None


def mbpp_entry_point(doc: Doc) -> str:
    """The function that the first assertion calls and Python does not have; ValueError for none."""
    tree = ast.parse(doc["test_list"][0])
    called = [node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)]
    own = [name for name in called if not hasattr(builtins, name)]
    if not own:
        raise ValueError(f"mbpp: test_list must call a function, got {doc['test_list'][0]!r:.80}")
    return own[0]


def ds1000_job(doc: Doc, answer: str) -> Job | None:
    """As DS-1000's own harness: `test_execution`, and where there is one `test_string`, of the lines."""
    code, context = python_lines(answer), doc["code_context"]
    if not code.strip():
        return None
    calls = [name for name in ("test_execution", "test_string") if f"def {name}(" in context]
    tests = "\n".join(f"{name}(solution)" for name in calls)
    return python_job(f"{context}\nsolution = {code!r}\n{tests}\n", LIBRARIES, libraries=True)


def codeapex_job(doc: Doc, answer: str) -> Job | None:
    """The problem's program with the function between its marks, compiled, and run on every input that the file has."""
    name = re.findall(r"(\w+)\s*\(", doc["function_declaration"])[0]
    code = cpp_function(answer, name)
    if not code:
        return None
    tests = json.loads(doc["example"]) if isinstance(doc["example"], str) else doc["example"]
    program = re.sub(r"//[ \t]*function start[^\n]*", lambda mark: f"{mark[0]}\n{code}", doc["code_context"], count=1)
    return cpp_job(
        program,
        [(test["input"], test["output"]) for test in tests],
        seconds=doc["time_limit"] / 1000,
        memory_mib=int(doc["memory_limit"]),
        limits=COMPILED,
    )


def _without_work(code: str, entry_point: str) -> str:
    """A module with one function that returns None at once, or one class with nothing in it."""
    tree = ast.parse(code)
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == entry_point:
            node.body = [ast.Return(value=ast.Constant(value=None))]
        if isinstance(node, ast.ClassDef) and node.name == entry_point:
            node.body = [ast.Pass()]
    return ast.unparse(ast.fix_missing_locations(tree))


def _fenced(code: str) -> str:
    return f"```python\n{code}\n```"


def _humaneval_solution(doc: Doc) -> str:
    return str(doc["prompt"] + doc["canonical_solution"])


BENCHMARKS: dict[str, Benchmark] = {
    "humaneval": Benchmark(
        job=humaneval_job,
        reference=lambda doc: _fenced(_humaneval_solution(doc)),
        mutilated=lambda doc: _fenced(_without_work(_humaneval_solution(doc), doc["entry_point"])),
    ),
    "mbpp": Benchmark(
        job=mbpp_job,
        reference=lambda doc: _fenced(doc["code"]),
        mutilated=lambda doc: _fenced(_without_work(doc["code"], mbpp_entry_point(doc))),
    ),
    "ds1000": Benchmark(
        job=ds1000_job,
        reference=lambda doc: _fenced(doc["reference_code"]),
        mutilated=lambda doc: _fenced("raise RuntimeError('no work')"),
        needs=lambda doc: _IMPORTED.findall(doc["code_context"]),
    ),
    "codeapex": Benchmark(
        job=codeapex_job,
        reference=lambda doc: doc.get("reference"),
        mutilated=lambda doc: f"```cpp\n{doc['function_declaration']} {{ throw 1; }}\n```",
    ),
}


def check_modules(name: str, docs: Iterable[Doc]) -> None:
    """ValueError with counts where documents need modules that are not here: they would all be wrong."""
    lacking: dict[str, int] = {}
    docs = list(docs)
    for doc in docs:
        modules = {one for one in BENCHMARKS[name].needs(doc) if one not in sys.stdlib_module_names}
        for module in modules:
            if _missing(module):
                lacking[module] = lacking.get(module, 0) + 1
    if lacking:
        said = ", ".join(f"{module} ({count})" for module, count in sorted(lacking.items()))
        raise ValueError(
            f"{name}: of {len(docs)} items some import what is not installed here: {said}; install it, or give a file"
            f" without those items (evaluate.data: {{{name}: FILE}}), docs/sandbox.md says how"
        )
    if name == "codeapex" and shutil.which(COMPILER) is None:
        raise ValueError(
            f"codeapex: needs the C++ compiler {COMPILER}, which is not here; install it, or leave the task out"
        )


def _missing(module: str) -> bool:
    try:
        return find_spec(module) is None
    except ValueError:
        return False
