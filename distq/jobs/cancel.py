"""``distq cancel``: end a job of a cluster."""

from __future__ import annotations

from distq.engine.progress import Reporter
from distq.engine.ray_jobs import ClusterJob
from distq.errors import UsageError
from distq.submission.head import connect, find_job


def cancel(job_id: str, address: str | None, reporter: Reporter) -> ClusterJob:
    """End a job; what it finished stays in RUN, and submitting it again continues.

    Raises:
        UsageError: the cluster knows no such job, or it is over already.
    """
    jobs = connect(address, reporter)
    job = find_job(jobs, job_id)
    if job.over:
        raise UsageError(f"{job_id} is over already: {job.status}")
    jobs.stop(job_id)
    for _ in jobs.follow(job_id):  # until it is over
        pass
    return jobs.get(job_id)
