"""A cluster that is none: it records the job, and replays how its log was tailed."""

import os
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from ray.job_submission import JobDetails, JobStatus, JobType

from omsweep.cluster.dashboard import Job


def details(job_id: str, sweep: str, status: str, **more: Any) -> JobDetails:
    """A job as Ray's client tells it."""
    known = {"type": JobType.SUBMISSION, "entrypoint": "python", "metadata": {"omsweep_sweep": sweep}}
    return JobDetails(submission_id=job_id, status=JobStatus(status), **{**known, **more})


class Cluster:
    """Stands in for the client of a dashboard.

    Args:
        attempts: at tailing the log: what each gives before it ends, an exception where it breaks.
        status: of the job after the last attempt.
        away: how many questions for the status are not answered.
        ran: sweeps and statuses of other jobs, the newest last.
        open_to: its warnings.
        nodes: resources of its nodes.
        info: of the job once it has ended.
    """

    def __init__(
        self,
        attempts: Sequence[Sequence[str | BaseException]],
        status: JobStatus,
        *,
        away: Sequence[Exception] = (),
        ran: Sequence[tuple[str, str]] = (),
        open_to: Sequence[str] = (),
        nodes: Sequence[Mapping[str, float]] | None = None,
        **info: Any,
    ) -> None:
        self.attempts, self.status, self.away, self.info = list(attempts), status, list(away), info
        self.ran = [Job.of(details(f"job-{i}", *one, start_time=1000 * i)) for i, one in enumerate(ran)]
        self.open_to, self.up = list(open_to), nodes
        self.job: dict[str, Any] = {}
        self.shipped: list[str] = []
        self.stopped: list[str] = []

    def get_address(self) -> str:
        return "http://head:8265"

    def warnings(self) -> list[str]:
        return self.open_to

    def jobs(self, sweep: str | None = None) -> list[Job]:
        return [one for one in reversed(self.ran) if sweep in (None, one.sweep)]

    def nodes(self) -> Sequence[Mapping[str, float]] | None:
        return self.up

    def may_grow(self) -> bool:
        return False

    def submit_job(self, **job: Any) -> str:
        self.job = job
        self.shipped = os.listdir(job["runtime_env"]["working_dir"])
        return "raysubmit_1"

    async def tail_job_logs(self, job_id: str) -> AsyncIterator[str]:
        for chunk in self.attempts.pop(0):
            if isinstance(chunk, BaseException):
                raise chunk
            yield chunk

    def get_job_status(self, job_id: str) -> JobStatus:
        if self.away:
            raise self.away.pop(0)
        return JobStatus.RUNNING if self.attempts else self.status

    def get_job_logs(self, job_id: str) -> str:
        return "".join(f"{job_id} {i}\n" for i in range(100))

    def stop_job(self, job_id: str) -> bool:
        self.stopped.append(job_id)
        return True

    def get_job_info(self, job_id: str) -> JobDetails:
        return details(job_id, "small", self.status, **self.info)
