"""Start programs in the sandbox, read what they say within bounds, and tell what came of each."""

import json
import os
import platform
import secrets
import selectors
import signal
import subprocess
import sys
import time
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import IO, Any

from omsweep.evaluation.sandbox import harness, launcher, seccomp
from omsweep.evaluation.sandbox.limits import FAILED, MEMORY, OUTPUT, PASSED, REFUSED, TIMED_OUT, Limits, Verdict

OLDEST_KERNEL = (5, 14)
GRACE_SECONDS = 30.0
"""For building the file system before the program's time begins, on a busy machine; init keeps the time itself."""
REASON = 200
"""Characters of a reason."""
CHANNEL_BYTES = 1 << 16
_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/etc/ld.so.cache", "/etc/alternatives")
_ENVIRONMENT = {
    "HOME": "/tmp",
    "LANG": "C.UTF-8",
    "MPLBACKEND": "Agg",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "PATH": "/usr/bin:/bin",
    "PYTHONHASHSEED": "0",
    "TMPDIR": "/tmp",
    "TZ": "UTC",
    "USER": "sandbox",
}
_MUST_NOT_FORK = """
import os
try:
    child = os.fork()
except OSError:
    pass
else:
    if child == 0:
        os._exit(0)
    raise RuntimeError("a limit on processes does not bind; start omsweep as another user than root")
"""


@dataclass(frozen=True, kw_only=True)
class Job:
    """A command to run in the sandbox.

    Args:
        argv: its words; the first is a path.
        stdin: what it reads.
        files: name -> text of files in its temporary folder, where it starts.
        secret: what its harness writes to the channel once every test has held.
        limits: what it may use.
    """

    argv: tuple[str, ...]
    secret: str
    stdin: str = ""
    files: Mapping[str, str] = field(default_factory=dict)
    limits: Limits


def python_job(program: str, limits: Limits, *, libraries: bool = False) -> Job:
    """A program whose last lines are its tests: it passes when all of it has run without an exception.

    Args:
        program: Python text, run as `__main__`.
        limits: what it may use.
        libraries: whether installed packages can be imported.
    """
    secret = secrets.token_hex(16)
    options = ("-s", "-P", "-B") if libraries else ("-s", "-P", "-B", "-S")
    stdin = json.dumps({"program": program, "secret": secret})
    source = Path(harness.__file__).read_text(encoding="utf-8")
    return Job(argv=(sys.executable, *options, "-c", source), secret=secret, stdin=stdin, limits=limits)


def run_all(jobs: Sequence[Job], workers: int | None = None, done: Callable[[], None] = lambda: None) -> list[Verdict]:
    """Verdicts in the order of the jobs, as many at a time as this process has cores (or `workers`)."""

    def one(job: Job) -> Verdict:
        verdict = run(job)
        done()
        return verdict

    with ThreadPoolExecutor(workers or len(os.sched_getaffinity(0))) as pool:
        return list(pool.map(one, jobs))


@lru_cache(maxsize=1)
def available() -> str | None:
    """Why no program can be run here, None where one can; the first call tries it."""
    if sys.platform != "linux":
        return f"it needs Linux, this is {sys.platform}"
    if (machine := platform.machine()) not in seccomp.ARCHITECTURES:
        return f"it needs one of {list(seccomp.ARCHITECTURES)}, this is {machine}"
    release = platform.release()
    if tuple(int(part) for part in release.split("-")[0].split(".")[:2]) < OLDEST_KERNEL:
        return f"it needs Linux {'.'.join(map(str, OLDEST_KERNEL))} or newer, this is {release}"
    verdict = run(python_job(_MUST_NOT_FORK, Limits(processes=1)))
    return None if verdict.passed else f"{verdict.outcome}: {verdict.reason}"


def run(job: Job) -> Verdict:
    """Run one job and wait for it; whatever it started has been killed when this returns."""
    begun = time.monotonic()
    with ExitStack() as stack:
        pipes = [zip(os.pipe(), ("rb", "wb"), strict=True) for _ in range(2)]
        ends = [[stack.enter_context(open(end, mode, buffering=0)) for end, mode in pipe] for pipe in pipes]
        (channel, channel_in), (status, status_in) = ends
        numbers = (channel_in.fileno(), status_in.fileno())
        command = [sys.executable, "-I", "-S", "-B", launcher.__file__, *map(str, numbers)]
        pipe = subprocess.PIPE
        process = stack.enter_context(
            subprocess.Popen(
                command, stdin=pipe, stdout=pipe, stderr=pipe, pass_fds=numbers, env={}, start_new_session=True
            )
        )
        stack.callback(process.kill)
        channel_in.close()
        status_in.close()
        stdin, stdout, stderr = process.stdin, process.stdout, process.stderr
        assert stdin is not None and stdout is not None and stderr is not None  # noqa: PT018 - no test
        with suppress(BrokenPipeError), stdin:  # a launcher that ended says why
            stdin.write(_spec(job))
        heard = _heard({"stdout": stdout, "stderr": stderr, "channel": channel, "status": status}, job.limits)
    outcome, reason = _judged(job, heard)
    return Verdict(outcome=outcome, reason=" ".join(reason.split())[:REASON], seconds=time.monotonic() - begun)


def _spec(job: Job) -> bytes:
    # what the interpreter and its packages are made of, at their own paths
    prefixes = {sys.base_prefix, sys.base_exec_prefix, sys.prefix, sys.exec_prefix}
    shown = [*_SYSTEM, *sorted(prefixes | {os.path.realpath(path) for path in prefixes})]
    spec: dict[str, Any] = {
        "argv": job.argv,
        "environment": _ENVIRONMENT,
        "files": dict(job.files),
        "filter": b64encode(seccomp.program(platform.machine())).decode(),
        "limits": asdict(job.limits),
        "shown": [path for path in shown if not any(_inside(path, other) for other in shown)],
        "stdin": job.stdin,
    }
    return json.dumps(spec).encode()


def _inside(path: str, folder: str) -> bool:
    return path != folder and Path(path).is_relative_to(folder)


def _heard(files: Mapping[str, IO[bytes]], limits: Limits) -> dict[str, bytes]:
    """What was written until all ends were closed; `late` or `much` is set where it took too long, or was too much."""
    heard = dict.fromkeys(files, b"")
    ends = time.monotonic() + limits.wall_seconds + GRACE_SECONDS
    with selectors.DefaultSelector() as selector:
        for name, file in files.items():
            selector.register(file, selectors.EVENT_READ, name)
        while selector.get_map():
            ready = selector.select(max(0.0, ends - time.monotonic()))
            if not ready:
                return heard | {"late": b"1"}
            for key, _ in ready:
                part = os.read(key.fd, 1 << 16)
                heard[key.data] += part
                if not part:
                    selector.unregister(key.fd)
            written = len(heard["stdout"]) + len(heard["stderr"])
            if written > limits.output_kib << 10 or len(heard["channel"]) > CHANNEL_BYTES:
                return heard | {"much": b"1"}
    return heard


def _judged(job: Job, heard: dict[str, bytes]) -> tuple[str, str]:
    """Outcome and reason. Only the secret on the channel means passed; no exit status does."""
    limits = job.limits
    status: dict[str, Any] = {}
    for line in heard["status"].splitlines():
        status |= json.loads(line)
    last = heard["stderr"].decode(errors="replace").strip().rpartition("\n")[2]
    if "refused" in status:
        return REFUSED, str(status["refused"])
    if "much" in heard:
        return OUTPUT, f"more than {limits.output_kib} KiB"
    if "late" in heard or status.get("limit") == TIMED_OUT:
        return TIMED_OUT, f"after {limits.wall_seconds:g} s"
    if status.get("limit") == MEMORY:
        return MEMORY, f"its processes held more than {limits.memory_mib} MiB"
    if "started" not in status:
        return REFUSED, f"the launcher ended: {last}"
    if status.get("signal") == signal.SIGXCPU:
        return TIMED_OUT, f"after {limits.cpu_seconds} s of processor time"
    said = _said(heard["channel"])
    if secrets.compare_digest(str(said.get("secret")).encode(), job.secret.encode()):
        return PASSED, ""
    reason = str(said.get("reason") or last)
    if said.get("memory") or "bad_alloc" in last:
        return MEMORY, reason
    if "signal" in status:
        return FAILED, f"ended by {signal.strsignal(status['signal'])}; {reason}"
    return FAILED, reason or f"ended with status {status.get('exit', 'unknown')} before its tests did"


def _said(channel: bytes) -> dict[str, Any]:
    """What the harness wrote, or the program in its place."""
    try:
        said = json.loads(channel)
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}
