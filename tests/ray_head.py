"""A Ray head node of a test's own, with token authentication, as the commands of a user meet it."""

import ctypes
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from omsweep.cache import cache_root

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
HEAD_START_SECONDS = 90
FOREIGN = ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "PYTHONPATH")


@dataclass(frozen=True)
class Head:
    """A running head node: its dashboard and how to reach it."""

    url: str
    token: str
    environment: dict[str, str]

    def run(self, *words: str, **changed: str) -> subprocess.CompletedProcess[str]:
        """Run a command of the virtual environment with the token's environment."""
        command, *arguments = words
        return subprocess.run(
            [str(BIN / command), *arguments],
            cwd=ROOT,
            env={**self.environment, **changed},
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )

    def get(self, path: str, token: str | None) -> tuple[int, str]:
        """Status and body of a request to the dashboard."""
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        try:
            with urllib.request.urlopen(urllib.request.Request(self.url + path, headers=headers), timeout=30) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()


@contextmanager
def ray_head(variables: Mapping[str, str]) -> Iterator[Head]:
    """A head node with two CPUs, ended by its process id; other Rays on this machine are not touched.

    Args:
        variables: of the environment of the node and of the commands.
    """
    with ExitStack() as stack:
        home = Path(tempfile.mkdtemp(prefix="oj", dir="/tmp"))  # short: Ray's sockets lie below it
        stack.callback(shutil.rmtree, home, ignore_errors=True)
        token, token_file = secrets.token_hex(32), home / "token"
        token_file.touch(mode=0o600)
        token_file.write_text(token)
        environment = {name: value for name, value in os.environ.items() if name not in FOREIGN}
        environment |= {
            "HOME": str(home),
            "PATH": f"{BIN}:{os.environ['PATH']}",
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(token_file),
            "OMSWEEP_CACHE": str(cache_root()),
            "RAY_JOB_STOP_WAIT_TIME_S": "60",  # as in cluster.yaml, for jobs of `ray job submit`
            **variables,
        }
        ports = free_ports(6)
        options = {
            "port": ports[0],
            "dashboard-port": ports[1],
            "dashboard-agent-listen-port": ports[2],
            "ray-client-server-port": ports[3],
            "metrics-export-port": ports[4],
            "runtime-env-agent-port": ports[5],
            "min-worker-port": 0,  # any free port instead of 10002 and up, where another Ray may listen
            "max-worker-port": 0,
            "dashboard-host": "127.0.0.1",
            "temp-dir": home / "r",
            "num-cpus": 2,
            "object-store-memory": 256 * 1024**2,
        }
        log = stack.enter_context((home / "ray.log").open("w"))
        command = [str(BIN / "ray"), "start", "--head", "--block", *(f"--{k}={v}" for k, v in options.items())]
        process = subprocess.Popen(
            command,
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=end_with_parent,
        )
        stack.callback(end, process)
        here = {"PYTHONPATH": str(ROOT)}  # of the commands, not of the cluster, which runs what they ship
        started = Head(f"http://127.0.0.1:{ports[1]}", token, environment | here)
        wait_until_ready(started, process, home / "ray.log")
        yield started


def end_with_parent() -> None:
    """A test run that is itself killed leaves no Ray behind: on Linux the kernel sends SIGTERM then."""
    if sys.platform == "linux":
        parent_death_signal = 1
        ctypes.CDLL(None).prctl(parent_death_signal, signal.SIGTERM)


def free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def wait_until_ready(head: Head, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait for the dashboard, and for the agent that runs jobs: a job sent before it listens is refused."""
    deadline = time.monotonic() + HEAD_START_SECONDS
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()
        try:
            if head.get("/api/jobs/", head.token)[0] == 200:
                return
        except OSError:
            pass
        time.sleep(0.5)
    raise AssertionError(f"no head node after {HEAD_START_SECONDS} s\n{log.read_text()}")


def end(process: subprocess.Popen[bytes]) -> None:
    """`ray start --block` ends what it started on SIGTERM; after that only its own process group is killed."""
    process.terminate()
    try:
        process.wait(timeout=90)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(timeout=30)
