"""What comes of one program: outcomes, reasons, and that nothing but the secret means that it passed."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from omsweep.evaluation.sandbox.cpp import COMPILER, cpp_job
from omsweep.evaluation.sandbox.limits import Limits, Verdict
from omsweep.evaluation.sandbox.run import available, python_job, run, run_all

LIMITS = Limits(wall_seconds=30, cpu_seconds=1, memory_mib=256, address_mib=512, output_kib=64)
TIME = Limits(wall_seconds=1, cpu_seconds=10)


@pytest.mark.parametrize(
    ("program", "limits", "outcome", "reason"),
    [
        ("assert sum([1, 2]) == 3", LIMITS, "passed", ""),
        ("assert sum([1, 2]) == 4, 'three'", LIMITS, "failed", "AssertionError: three"),
        ("this is no Python", LIMITS, "failed", "SyntaxError"),
        ("raise SystemExit(0)", LIMITS, "failed", "it ended itself before its tests did"),
        ("import os; os._exit(0)", LIMITS, "failed", "ended with status 0 before its tests did"),
        ("import numpy", LIMITS, "failed", "ModuleNotFoundError"),
        ("while True: pass", LIMITS, "timed out", "after 1 s of processor time"),
        ("import time; time.sleep(60)", TIME, "timed out", "after 1 s"),
        ("x = bytearray(1 << 30)", LIMITS, "memory", "MemoryError"),
        ("print('x' * 100_000)", LIMITS, "output", "more than 64 KiB"),
    ],
)
@pytest.mark.usefixtures("sandbox")
def test_a_verdict_says_what_came_of_a_program(program: str, limits: Limits, outcome: str, reason: str) -> None:
    verdict = run(python_job(program, limits))
    assert (verdict.outcome, verdict.passed) == (outcome, outcome == "passed")
    assert verdict.reason.startswith(reason)
    assert 0 < verdict.seconds < 30


@pytest.mark.usefixtures("sandbox")
def test_installed_packages_are_there_when_they_are_asked_for() -> None:
    verdict = run(python_job("import numpy; assert numpy.ones(3).sum() == 3", Limits(address_mib=8192), libraries=True))
    assert verdict.passed, verdict


@pytest.mark.usefixtures("sandbox")
def test_the_same_program_has_the_same_hashes_each_time() -> None:
    program = f"assert hash('word') == {_hash_of_seed_0('word')}"
    assert all(verdict.passed for verdict in run_all([python_job(program, LIMITS)] * 3))


def _hash_of_seed_0(word: str) -> int:
    code = f"print(hash({word!r}))"
    done = subprocess.run([sys.executable, "-c", code], env={"PYTHONHASHSEED": "0"}, capture_output=True, check=True)
    return int(done.stdout)


@pytest.mark.usefixtures("sandbox")
def test_verdicts_come_in_the_jobs_order_whoever_ends_first() -> None:
    programs = [f"import time; time.sleep({1 - number / 4}); assert {number} % 2" for number in range(4)]
    counted: list[None] = []
    verdicts = run_all([python_job(one, LIMITS) for one in programs], workers=4, done=lambda: counted.append(None))
    assert [verdict.passed for verdict in verdicts] == [False, True, False, True]
    assert len(counted) == 4


@pytest.mark.usefixtures("sandbox")
def test_no_file_and_no_process_is_left(tmp_path: Path) -> None:
    files, before = len(os.listdir("/proc/self/fd")), _children()
    for program in ("import os\nif os.fork() == 0:\n    import time; time.sleep(60)", "while True: pass"):
        run(python_job(program, LIMITS))
    time.sleep(0.1)
    assert len(os.listdir("/proc/self/fd")) == files
    assert _children() == before


def _children() -> str:
    return Path(f"/proc/self/task/{os.getpid()}/children").read_text()


@pytest.mark.skipif(sys.platform != "linux", reason="namespaces are Linux's")
def test_a_kernel_without_namespaces_is_refused_with_its_reason() -> None:
    code = """
    from omsweep.evaluation.sandbox.run import available
    import ctypes, sys
    from pathlib import Path
    CLONE_NEWUSER = 0x10000000
    assert ctypes.CDLL(None).unshare(CLONE_NEWUSER) == 0
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"0 {sys.argv[1]} 1")
    Path("/proc/self/gid_map").write_text(f"0 {sys.argv[2]} 1")
    Path("/proc/sys/user/max_user_namespaces").write_text("0")
    print(available())
    """
    if available() is not None:
        pytest.skip("no user namespace at all")
    command = [sys.executable, "-c", "\n".join(line[4:] for line in code.splitlines())]
    done = subprocess.run([*command, str(os.getuid()), str(os.getgid())], capture_output=True, text=True, check=False)
    assert done.stdout.startswith("refused: new namespaces: No space left on device"), done


@pytest.mark.parametrize("name", ["wall_seconds", "processes", "disk_mib"])
def test_limits_must_be_above_zero(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be above 0, got 0"):
        Limits(**{name: 0})
    with pytest.raises(ValueError, match="outcome must be one of .*'fine'"):
        Verdict(outcome="fine")


ADD = "#include <iostream>\n#include <string>\n#include <unistd.h>\nint main() { int a, b; std::cin >> a >> b; %s; }"
LOOKS_INTO_THE_HARNESS = """
    auto parent = "/proc/" + std::to_string(getppid());
    bool held = !fopen((parent + "/fd/3").c_str(), "w") && !fopen((parent + "/mem").c_str(), "r") && !fdopen(3, "w");
    return held ? 7 : 0
"""


@pytest.mark.parametrize(
    ("line", "outcome", "reason"),
    [
        ('std::cout << a + b << " \\n\\n"', "passed", ""),
        ("std::cout << a - b", "failed", "test 1: other output than expected"),
        ("return 1", "failed", "test 1: ended with status 1"),
        ("a = c", "failed", "does not compile: program.cpp:4"),
        (LOOKS_INTO_THE_HARNESS, "failed", "test 1: ended with status 7"),
        ("for (;;) a++", "failed", "test 1: ended with status -9"),
    ],
)
@pytest.mark.usefixtures("sandbox")
def test_a_c_plus_plus_program_is_compiled_and_its_output_compared(line: str, outcome: str, reason: str) -> None:
    if not Path("/usr/bin", COMPILER).exists():
        pytest.skip(f"no {COMPILER}")
    job = cpp_job(ADD % line, [("1 2", "3"), ("5 5", "10")], seconds=1, memory_mib=64, limits=Limits(wall_seconds=30))
    verdict = run(job)
    assert (verdict.outcome, verdict.reason[: len(reason)]) == (outcome, reason), verdict


def test_a_job_keeps_the_secret_out_of_its_arguments() -> None:
    job = python_job("pass", LIMITS)
    assert job.secret not in " ".join(job.argv)
    assert json.loads(job.stdin)["secret"] == job.secret
    assert python_job("pass", LIMITS).secret != job.secret
