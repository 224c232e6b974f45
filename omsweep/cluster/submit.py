"""A sweep as a Ray job: what is shipped, which command runs, and how its log is followed until the end.

The job gets the search space file and this `omsweep` package, nothing else of the machine it is submitted from; the
nodes need the package's dependencies, and neither a checkout nor an installed omsweep.
"""

import asyncio
import logging
import os
import shlex
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp
from ray.exceptions import AuthenticationError
from ray.job_submission import JobStatus, JobSubmissionClient
from rich.console import Console

from omsweep import __version__
from omsweep.cluster.storage import check_job_storage, check_job_tracking, check_no_secret
from omsweep.provenance import in_environment, revision
from omsweep.space.inputs import places
from omsweep.space.search_space import SearchSpace

SUCCEEDED, FAILED = 0, 1
PACKAGE = Path(__file__).resolve().parent.parent
NOT_SHIPPED = ["__pycache__", "*.pyc", ".DS_Store"]
# how long `ray job stop` waits between SIGTERM and SIGKILL: a sweep closes its runs and writes its report in that time
STOP_SETTINGS = {"RAY_JOB_STOP_WAIT_TIME_S": "60"}
CHATTY_LOGGERS = (
    "ray.dashboard.modules.dashboard_sdk",
    "ray.dashboard.modules.job.sdk",
    "ray._private.runtime_env.packaging",
)
ADDRESS_VARIABLE = "RAY_API_SERVER_ADDRESS"
LOST_CONTACT_SECONDS = 120.0
POLL_SECONDS = 1.0

ClusterErrors = (OSError, RuntimeError, AuthenticationError)


def submit_sweep(
    space_path: Path,
    space: SearchSpace,
    *,
    overrides: Sequence[str],
    address: str | None,
    name: str | None,
    storage: str,
    tracking_uri: str | None,
    wait: bool,
) -> int:
    """Run a search space file as a Ray job; with `wait` follow its log until it ends.

    Ctrl-C while following detaches: the job goes on, and the command that stops it is printed.

    Args:
        space_path: search space file here; a copy of it is shipped.
        space: what it says, checked.
        overrides: `key=value` settings passed on as `--set`.
        address: URL of the cluster's dashboard; None leaves it to `$RAY_API_SERVER_ADDRESS`, `$RAY_ADDRESS` and Ray.
        name: of the sweep; None takes the file's.
        storage: absolute path or `file://` URI that all nodes share.
        tracking_uri: MLflow tracking URI that the head node reaches, without a password.
        wait: follow the log; else return once the job is accepted.

    Returns:
        0 when the job succeeded (without `wait`: was accepted), 1 when it failed, was stopped or was not submitted.

    Raises:
        ValueError: a storage, tracking URI or file that a job cannot use; nothing has been submitted then.
        KeyboardInterrupt: Ctrl-C, after saying how to go on.
    """
    check_job_storage(storage)
    check_job_tracking(tracking_uri)
    _check_paths(space_path, space, overrides)
    if address is not None:
        check_no_secret("--address", address, "give a token in ~/.ray/auth_token or RAY_AUTH_TOKEN")
    for logger in CHATTY_LOGGERS:
        logging.getLogger(logger).setLevel(logging.WARNING)
    console = Console(highlight=False, soft_wrap=True, markup=False)
    with tempfile.TemporaryDirectory(prefix="omsweep-submit-") as folder:
        shutil.copyfile(space_path, Path(folder) / space_path.name)
        request = job_request(
            Path(folder) / space_path.name,
            overrides=overrides,
            name=name or space.file.name,
            storage=storage,
            tracking_uri=tracking_uri,
        )
        try:
            client = connect(address)
            job_id = client.submit_job(**request)
        except ClusterErrors as error:
            sys.stderr.write(f"omsweep: not submitted: {error}\n")
            return FAILED
    at = f"--address {shlex.quote(client.get_address())}"
    console.print(f"job {job_id} on {client.get_address()}: {request['entrypoint']}")
    console.print(f"follow it: ray job logs {at} --follow {job_id}\nstop it:   ray job stop {at} {job_id}")
    if not wait:
        return SUCCEEDED
    console.print("following its log; Ctrl-C detaches and leaves the job running")
    try:
        return _outcome(client, job_id, follow(client, job_id, _write), console)
    except KeyboardInterrupt:
        console.print(f"\ndetached; job {job_id} goes on. stop it: ray job stop {at} {job_id}")
        raise
    except ClusterErrors as error:
        sys.stderr.write(f"omsweep: lost contact with job {job_id}, which may still run: {error}\n")
        return FAILED


def job_request(
    space: Path, *, overrides: Sequence[str], name: str, storage: str, tracking_uri: str | None
) -> dict[str, Any]:
    """What `submit_job` of Ray's client gets for a search space file that lies alone in its folder.

    Ray uploads the folder as working folder and the package folder as a module, so that the command runs this very
    code. Options are written `--key=value` and quoted for the shell that Ray starts the command with.
    """
    words = ["python", "-m", "omsweep.cli", "run", f"./{space.name}", f"--name={name}", f"--storage={storage}"]
    if tracking_uri is not None:
        words.append(f"--tracking-uri={tracking_uri}")
    words += [f"--set={override}" for override in overrides]
    tags = {"omsweep_sweep": name, "omsweep_version": __version__}
    tags |= {key: str(value) for key, value in revision().items() if value is not None}
    return {
        "entrypoint": shlex.join(words),
        "runtime_env": {
            "working_dir": str(space.parent),
            "py_modules": [str(PACKAGE)],
            "excludes": NOT_SHIPPED,
            "env_vars": STOP_SETTINGS | in_environment(),
        },
        "metadata": tags,
    }


def connect(address: str | None) -> JobSubmissionClient:
    """A client of the dashboard at `address`, `http://` where it names no scheme.

    Ray lets its environment variables override its argument; here the address that was typed wins.

    Raises:
        ConnectionError, RuntimeError, AuthenticationError: nothing answers there, it is no Ray, or the token is wrong.
    """
    if address is None:
        return JobSubmissionClient()
    url = address if "://" in address else f"http://{address}"
    with _environment(ADDRESS_VARIABLE, url):
        return JobSubmissionClient(url)


def follow(client: JobSubmissionClient, job_id: str, write: Callable[[str], None]) -> JobStatus:
    """Pass on a job's log as it grows until the job ends; returns how it ended.

    A connection that drops is taken up again after what was already written, for `LOST_CONTACT_SECONDS` at most.

    Raises:
        OSError, RuntimeError: the cluster did not answer for that long.
    """
    written, answered = 0, time.monotonic()

    def count(chunk: str) -> None:
        nonlocal written, answered
        write(chunk)
        written += len(chunk)
        answered = time.monotonic()

    while True:
        try:
            asyncio.run(_tail(client, job_id, count, skip=written))
            status = client.get_job_status(job_id)
            answered = time.monotonic()
            if status.is_terminal():
                return status
        except (OSError, RuntimeError, aiohttp.ClientError) as error:
            if time.monotonic() - answered > LOST_CONTACT_SECONDS:
                raise RuntimeError(f"no answer for {LOST_CONTACT_SECONDS:.0f} s: {error}") from error
        time.sleep(POLL_SECONDS)


async def _tail(client: JobSubmissionClient, job_id: str, write: Callable[[str], None], *, skip: int) -> None:
    """Write the log from character `skip` on; Ray always sends it from the start."""
    async for chunk in client.tail_job_logs(job_id):
        if skip < len(chunk):
            write(chunk[skip:])
        skip = max(0, skip - len(chunk))


def _outcome(client: JobSubmissionClient, job_id: str, status: JobStatus, console: Console) -> int:
    if status == JobStatus.SUCCEEDED:
        console.print(f"job {job_id} succeeded")
        return SUCCEEDED
    info = client.get_job_info(job_id)
    if info.driver_exit_code is not None:
        reason = f" with exit code {info.driver_exit_code}"
    else:
        reason = f": {info.message}" if info.message else ""  # it never started: the log says nothing
    console.print(f"job {job_id} {status.value.lower()}{reason}")
    return FAILED


def _write(chunk: str) -> None:
    sys.stdout.write(chunk)
    sys.stdout.flush()


def _check_paths(space_path: Path, space: SearchSpace, overrides: Sequence[str]) -> None:
    """Refuse files of this machine that the space names by a relative path: the job would look for them in vain."""
    given = "\n".join([space_path.read_text(encoding="utf-8"), *overrides])
    for key, value in places(space).items():
        absolute = Path(value).is_absolute() and value in given
        if not absolute and Path(value).exists():
            raise ValueError(
                f"{space_path}: {key}: {value!r} is a path on this machine, which the cluster does not see; copy it to"
                " the shared storage and give its absolute path"
            )


@contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
