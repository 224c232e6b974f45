"""A sweep as a Ray job: what is shipped, which command runs, and how its log is followed until the end.

The job gets the search space file and this `omsweep` package, nothing else of the machine it is submitted from; the
nodes need the package's dependencies, and neither a checkout nor an installed omsweep.
"""

import secrets
import shlex
import shutil
import tempfile
from collections.abc import Callable, Sequence
from fnmatch import fnmatch
from functools import partial
from pathlib import Path
from typing import Any

from ray.job_submission import JobStatus
from rich.filesize import decimal

from omsweep import __version__
from omsweep.cluster.dashboard import SWEEP_TAG, ClusterErrors, Dashboard, Job, connect
from omsweep.cluster.fit import where_workers_fit
from omsweep.cluster.following import follow
from omsweep.cluster.storage import check_job_storage, check_job_tracking
from omsweep.console import Console, say
from omsweep.provenance import in_environment, revision
from omsweep.space.inputs import places
from omsweep.space.search_space import SearchSpace
from omsweep.store.records import check_file_name

SUCCEEDED, FAILED = 0, 1
PACKAGE = Path(__file__).resolve().parent.parent
NOT_SHIPPED = ["__pycache__", "*.pyc", ".DS_Store"]
# how long `ray job stop` waits between SIGTERM and SIGKILL: a sweep closes its runs and writes its report in that time
STOP_SETTINGS = {"RAY_JOB_STOP_WAIT_TIME_S": "60"}


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
    name = name or space.file.name
    check_file_name("--name", name)
    check_job_storage(storage)
    check_job_tracking(tracking_uri)
    _check_paths(space_path, space, overrides)
    console = Console(highlight=False, soft_wrap=True, markup=False)
    with tempfile.TemporaryDirectory(prefix="omsweep-submit-") as folder:
        shutil.copyfile(space_path, Path(folder) / space_path.name)
        request = job_request(
            Path(folder) / space_path.name, overrides=overrides, name=name, storage=storage, tracking_uri=tracking_uri
        )
        try:
            client = connect(address)
            look_first(client, name, space, console.print)
            console.print(shipped(space_path))
            job_id = client.submit_job(**request)
        except ClusterErrors as error:
            say(f"omsweep: not submitted: {error}", error=True)
            return FAILED
    console.print(f"job {job_id} on {client.get_address()}: {request['entrypoint']}")
    console.print(commands(client, job_id, name))
    if not wait:
        return SUCCEEDED
    console.print("following its log; Ctrl-C detaches and leaves the job running")
    try:
        follow(client, job_id, partial(say, end=""), console.print, again=commands(client, job_id, name))
        return _outcome(Job.of(client.get_job_info(job_id)), console)
    except KeyboardInterrupt:
        console.print(f"\ndetached; job {job_id} goes on\n{commands(client, job_id, name)}")
        raise
    except ClusterErrors as error:
        say(f"omsweep: job {job_id} is not followed any more: {error}", error=True)
        return FAILED


def look_first(client: Dashboard, name: str, space: SearchSpace, say: Callable[[str], None]) -> None:
    """Warn of a cluster that is open to others, and say where its workers fit.

    Raises:
        ValueError: a job runs the sweep already, or no node can ever hold a worker.
    """
    for warning in client.warnings():
        say(f"warning: {warning}")
    for job in client.jobs(name):
        if not job.is_over:
            raise ValueError(
                f"sweep {name} is run by job {job.job_id} on {client.get_address()}, which is {job.status.lower()}: see"
                f" `omsweep status`, end it with `omsweep stop {name}`, or choose another --name"
            )
    say(where_workers_fit(space, client.nodes(), may_grow=client.may_grow()))


def shipped(space_path: Path) -> str:
    """What a job is given, and how large it is before Ray packs it."""
    kept = [
        file
        for file in PACKAGE.rglob("*")
        if file.is_file() and not any(fnmatch(part, shape) for part in file.parts for shape in NOT_SHIPPED)
    ]
    size = sum(file.stat().st_size for file in (space_path, *kept))
    return f"ships {space_path.name} and omsweep {__version__} ({len(kept)} files), {decimal(size)}"


def commands(client: Dashboard, job_id: str, name: str) -> str:
    """The commands that look at a job again."""
    at = f"--address {shlex.quote(client.get_address())}"
    return (
        f"follow it:   ray job logs {at} --follow {job_id}\n"
        f"look at it:  omsweep status {name} {at}\n"
        f"stop it:     omsweep stop {name} {at}"
    )


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
    tags = {SWEEP_TAG: name, "job_name": name, "omsweep_version": __version__}
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
        "submission_id": f"omsweep-{name}-{secrets.token_hex(3)}",
    }


def _outcome(job: Job, console: Console) -> int:
    console.print(f"job {job.job_id} {job.how}")
    return SUCCEEDED if job.status == JobStatus.SUCCEEDED else FAILED


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
