"""A C++ program as a job: compiled and run inside the sandbox, on inputs whose outputs are known."""

import json
import secrets
import sys
from collections.abc import Sequence
from pathlib import Path

from omsweep.evaluation.sandbox import cpp_harness
from omsweep.evaluation.sandbox.limits import Limits
from omsweep.evaluation.sandbox.run import Job

COMPILER = "g++"


def cpp_job(program: str, tests: Sequence[tuple[str, str]], *, seconds: float, memory_mib: int, limits: Limits) -> Job:
    """It passes when it compiles and every output is as expected, but for spaces at ends of lines.

    Args:
        program: C++ text (C++17).
        tests: inputs with their outputs.
        seconds: processor time of a test.
        memory_mib: address space of a test, without the libraries' own.
        limits: of the compiler and all tests together.
    """
    if not tests:
        raise ValueError("a C++ program needs at least one test, got none")
    secret = secrets.token_hex(16)
    given = {"tests": list(tests), "seconds": seconds, "memory_mib": memory_mib, "secret": secret, "compiler": COMPILER}
    source = Path(cpp_harness.__file__).read_text(encoding="utf-8")
    return Job(
        argv=(sys.executable, "-s", "-P", "-B", "-S", "-c", source),
        secret=secret,
        stdin=json.dumps(given),
        files={"program.cpp": program},
        limits=limits,
    )
