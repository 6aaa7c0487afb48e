"""``distq jobs``: the distq jobs of a cluster."""

from __future__ import annotations

from distq.engine.progress import Reporter
from distq.engine.ray_jobs import ClusterJob
from distq.submission.head import connect, is_job


def list_jobs(address: str | None, reporter: Reporter) -> tuple[ClusterJob, ...]:
    """The distq jobs that a cluster knows, the oldest first."""
    return tuple(job for job in connect(address, reporter).list() if is_job(job.id))
