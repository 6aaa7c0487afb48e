"""The head of a cluster, seen through its HTTP port: connect, find distq's jobs, say why one failed."""

from __future__ import annotations

from distq.engine.progress import Reporter
from distq.engine.ray_jobs import ClusterJob, RayJobs
from distq.errors import ExecutionError, UsageError

JOB_PREFIX, FETCH_PREFIX = "distq-", "distq-fetch-"
"""Of the ids of distq's jobs, and of the small jobs that print a RUN."""

_NOT_FOUND = 127


def connect(address: str | None, reporter: Reporter) -> RayJobs:
    """Reach a head by the URL of its dashboard; warn where it asks for no token."""
    jobs = RayJobs(address)
    if not jobs.guarded:
        reporter.warn(
            f"{jobs.address} asks for no token: whoever reaches it can run code there; "
            "start the head with RAY_AUTH_MODE=token"
        )
    return jobs


def find_job(jobs: RayJobs, job_id: str) -> ClusterJob:
    """A job that distq submitted.

    Raises:
        UsageError: the cluster knows no such job.
    """
    if not job_id.strip():
        raise UsageError("the ID is empty: see 'distq jobs'")
    job = jobs.get(job_id)
    if not is_job(job_id) or "command" not in job.metadata:
        raise UsageError(f"{job_id} was not submitted by distq: see 'distq jobs'")
    return job


def is_job(job_id: str) -> bool:
    """Whether an id is of a job that a user submitted."""
    return job_id.startswith(JOB_PREFIX) and not job_id.startswith(FETCH_PREFIX)


def require_success(jobs: RayJobs, job: ClusterJob) -> None:
    """Say why a job failed: its own last line is distq's error there."""
    if job.status == "SUCCEEDED":
        return
    if job.status == "STOPPED":
        raise ExecutionError(f"{job.id} was cancelled: submit it again to continue")
    if job.exit_code == _NOT_FOUND:
        raise ExecutionError(
            f"{job.id} failed: the head has no command distq: install distq on every node, in the "
            "environment that 'ray start' ran in"
        )
    lines = [line for line in "".join(jobs.follow(job.id)).splitlines() if line.startswith("distq: ")]
    reason = lines[-1].removeprefix("distq: ") if lines else " ".join(job.message.split())
    raise ExecutionError(f"{job.id} failed on the cluster: {reason}")
