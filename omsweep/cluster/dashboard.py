"""A cluster as its dashboard shows it over HTTP: whom it lets in, its nodes, and the jobs that run sweeps."""

import ipaddress
import logging
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import requests
from ray.exceptions import AuthenticationError
from ray.job_submission import JobDetails, JobStatus, JobSubmissionClient

from omsweep.redaction import redacted, refuse_secrets

ADDRESS_VARIABLE = "RAY_API_SERVER_ADDRESS"
SWEEP_TAG = "omsweep_sweep"
"""Key of a job's metadata that names its sweep."""
ANSWER_SECONDS = 60.0
"""After which a request counts as lost: the connection may be gone without a word."""
POLL_SECONDS = 1.0
READ_ONLY = re.compile(r"node_?[0-9a-f]{56}", re.IGNORECASE)
"""How Ray's autoscaler names node types that it only looks at, after the node: nothing adds nodes to such a cluster."""
CHATTY_LOGGERS = (
    "ray.dashboard.modules.dashboard_sdk",
    "ray.dashboard.modules.job.sdk",
    "ray._private.runtime_env.packaging",
)
ClusterErrors = (OSError, RuntimeError, AuthenticationError)
Node = Mapping[str, float]
"""Resources of a node under Ray's names, memory in bytes."""


class Dashboard(JobSubmissionClient):
    """Ray's client of a dashboard, whose requests end: what is not answered in time raises as what is refused does."""

    def _do_request(self, method: str, endpoint: str, **more: Any) -> requests.Response:
        return super()._do_request(method, endpoint, **{"timeout": ANSWER_SECONDS, **more})

    def warnings(self) -> list[str]:
        """What is open to others: a cluster that asks for no token, and a token that travels in the clear."""
        address, said = self.get_address(), []
        if requests.get(f"{address}/api/jobs/", timeout=ANSWER_SECONDS, verify=self._verify).ok:
            said.append(
                f"{address} answers without a token: whoever reaches it runs code on the cluster. Start the cluster"
                " with RAY_AUTH_MODE=token"
            )
        sends_token = any("authorization" in name.lower() for name in self._headers)
        if sends_token and not _is_private(address):
            said.append(
                f"the token goes to {address} in the clear, for everyone on the way to read. Reach the dashboard"
                " through SSH (ray dashboard) or https"
            )
        return said

    def nodes(self) -> list[Node] | None:
        """Resources of the nodes that are up, None where the dashboard does not say."""
        answer = self._answer("/api/v0/nodes?limit=10000")
        rows = ((answer.get("data") or {}).get("result") or {}).get("result")
        return None if rows is None else [one["resources_total"] for one in rows if one["state"] == "ALIVE"]

    def may_grow(self) -> bool:
        """Whether an autoscaler may add nodes, for all that is known.

        Which types of nodes it may add is kept in the cluster, where the dashboard does not reach.
        """
        status = (self._answer("/api/cluster_status").get("data") or {}).get("clusterStatus") or {}
        types = (status.get("autoscalerReport") or {}).get("activeNodes")
        return not types or not all(map(READ_ONLY.fullmatch, types))

    def jobs(self, sweep: str | None = None) -> list["Job"]:
        """The jobs that name their sweep, or those of one sweep; the newest first."""
        found = [Job.of(one) for one in self.list_jobs() if one.submission_id and SWEEP_TAG in (one.metadata or {})]
        return sorted((one for one in found if sweep in (None, one.sweep)), key=lambda one: -one.started)

    def _answer(self, path: str) -> dict[str, Any]:
        response = self._do_request("GET", path)
        answer: dict[str, Any] = response.json() if response.ok else {}
        return answer


@dataclass(frozen=True, kw_only=True)
class Job:
    """A job that runs a sweep, or ran it.

    Attributes:
        job_id: its submission id.
        sweep: name of the sweep.
        status: Ray's word, `PENDING`, `RUNNING`, `SUCCEEDED`, `FAILED` or `STOPPED`.
        exit_code: of its driver, None while it runs or where it never did.
        message: Ray's, of the status.
        started, ended: Unix time in seconds; `ended` None while it runs.
    """

    job_id: str
    sweep: str
    status: JobStatus
    exit_code: int | None
    message: str | None
    started: float
    ended: float | None

    @classmethod
    def of(cls, details: JobDetails) -> "Job":
        """From what Ray's client says."""
        return cls(
            job_id=details.submission_id,
            sweep=details.metadata[SWEEP_TAG],
            status=details.status,
            exit_code=details.driver_exit_code,
            message=details.message,
            started=(details.start_time or 0) / 1000,
            ended=details.end_time and details.end_time / 1000,
        )

    @property
    def is_over(self) -> bool:
        """Whether it has ended, however."""
        return self.status.is_terminal()

    @property
    def how(self) -> str:
        """`running`, `failed with exit code 2`, or what Ray says of a job that never started."""
        if self.status != JobStatus.FAILED:
            return self.status.lower()
        if self.exit_code is None:  # its log says nothing
            return f"failed: {self.message}" if self.message else "failed"
        return f"failed with exit code {self.exit_code}"


def connect(address: str | None) -> Dashboard:
    """A client of the dashboard at `address`, `http://` where it names no scheme.

    Ray lets its environment variables override its argument; here the address that was typed wins.

    Raises:
        ValueError: an address that holds a secret.
        ConnectionError, RuntimeError, AuthenticationError: nothing answers there, it is no Ray, or the token is wrong.
    """
    for logger in CHATTY_LOGGERS:
        logging.getLogger(logger).setLevel(logging.WARNING)
    for variable in (ADDRESS_VARIABLE, "RAY_ADDRESS"):
        refuse_secrets(variable, os.environ.get(variable, ""))
    if address is None:
        return Dashboard()
    refuse_secrets("--address", address)
    url = address if "://" in address else f"http://{address}"
    with _environment(ADDRESS_VARIABLE, url):
        return Dashboard(url)


@contextmanager
def connected(address: str | None) -> Iterator[Dashboard]:
    """A client, for commands that only ask: what goes wrong with the cluster is ValueError, in one line."""
    try:
        yield connect(address)
    except ClusterErrors as error:
        reason = redacted(str(error).strip().partition("\n")[0])
        raise ValueError(f"the cluster's dashboard cannot be used: {reason}") from None


def job_of(client: Dashboard, sweep: str) -> Job:
    """The job that runs a sweep, else the last that did; ValueError with what there is where none did."""
    jobs = client.jobs(sweep)
    if jobs:
        return min(jobs, key=lambda one: one.is_over)
    others = dict.fromkeys(one.sweep for one in client.jobs())
    there = f"there are jobs of {', '.join(others)}" if others else "there is no job of a sweep"
    raise ValueError(f"no job on {client.get_address()} runs a sweep {sweep}: {there}")


def stop(client: Dashboard, job_id: str, *, patience: float, sleep: Callable[[float], None] = time.sleep) -> JobStatus:
    """Have Ray stop a job, and wait until it has ended; its status, that of a job at work where `patience` s passed."""
    client.stop_job(job_id)
    deadline = time.monotonic() + patience
    while not (status := client.get_job_status(job_id)).is_terminal() and time.monotonic() < deadline:
        sleep(POLL_SECONDS)
    return status


def _is_private(address: str) -> bool:
    """Whether what is sent there can be read by nobody on the way: encrypted, or on this machine."""
    url = urlsplit(address)
    if url.scheme == "https" or url.hostname == "localhost":
        return True
    try:
        return ipaddress.ip_address(url.hostname or "").is_loopback
    except ValueError:
        return False


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
