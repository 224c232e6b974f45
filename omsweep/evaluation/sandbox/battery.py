"""Run every program of `HOSTILE` on this machine, with things of the machine laid out for it to find."""

import os
import secrets
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from omsweep.evaluation.sandbox.hostile import HOSTILE, Hostile
from omsweep.evaluation.sandbox.limits import Limits, Verdict
from omsweep.evaluation.sandbox.run import python_job, run_all

LIMITS = Limits(
    wall_seconds=6,
    cpu_seconds=2,
    memory_mib=512,
    address_mib=1024,
    processes=16,
    disk_mib=16,
    file_mib=8,
    files=512,
    open_files=64,
    output_kib=256,
)
TOKEN_VARIABLE = "OMSWEEP_CANARY"


@dataclass(frozen=True, kw_only=True)
class Row:
    """A program, what came of it, and whether the sandbox held."""

    hostile: Hostile
    verdict: Verdict
    held: bool


AT_A_TIME = 8
"""Programs: most of the slow ones sleep, or are over before the machine is."""


def run_battery(done: Callable[[], None] = lambda: None) -> list[Row]:
    """A row for each of `HOSTILE`; `done` is called after each program."""
    with _laid_out() as (token, names):
        jobs = [python_job(_filled(one.program, names), LIMITS) for one in HOSTILE]
        verdicts = run_all(jobs, AT_A_TIME, done)
        left = _left(token)
    return [
        Row(hostile=one, verdict=verdict, held=_held(one, verdict, token, left))
        for one, verdict in zip(HOSTILE, verdicts, strict=True)
    ]


def _held(one: Hostile, verdict: Verdict, token: str, left: bool) -> bool:
    outlived = left and "@TOKEN@" in one.program
    return verdict.outcome in one.outcomes and token not in verdict.reason and not outlived


@contextmanager
def _laid_out() -> Iterator[tuple[str, dict[str, str]]]:
    """A token, and where it is: a file, a variable of the environment, servers; all of it goes again."""
    token = secrets.token_hex(16)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="omsweep-")))
        (folder / "token").write_text(token)
        folder.chmod(0o755)  # it is the sandbox that has to hide them, not their modes
        (folder / "token").chmod(0o644)
        addresses = ("\0omsweep-" + token, str(folder / "socket"))
        for address in addresses:
            server = stack.enter_context(socket.socket(socket.AF_UNIX))
            server.bind(address)
            server.listen()
        Path(addresses[1]).chmod(0o777)
        server = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        os.environ[TOKEN_VARIABLE] = token
        stack.callback(os.environ.pop, TOKEN_VARIABLE, None)
        names = {
            "TOKEN": token,
            "FILE": str(folder / "token"),
            "SOCKET": addresses[1],
            "PORT": str(server.getsockname()[1]),
            "PROCESS": str(os.getpid()),
            "HOME": str(Path.home()),
        }
        yield token, names


def _filled(program: str, names: dict[str, str]) -> str:
    for name, value in names.items():
        program = program.replace(f"@{name}@", value)
    return program


def _left(token: str) -> bool:
    """Whether a process of the machine still has the token among its arguments."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if token.encode() in (folder / "cmdline").read_bytes():
                return True
        except OSError:
            continue
    return False
