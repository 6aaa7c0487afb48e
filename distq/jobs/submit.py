"""``distq submit``: start a job on a cluster, or find it where it runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from distq.ending import temporary_folder
from distq.engine.progress import Reporter
from distq.engine.ray_jobs import ClusterJob, RayJobs
from distq.errors import ExecutionError
from distq.run.identity import versions
from distq.submission.head import connect, require_success
from distq.submission.package import make_submission

# after SIGTERM distq closes its journal and says how to go on; what a shell's background job started, a whole
# cluster maybe, ignores SIGINT
_ENVIRONMENT = {"RAY_JOB_STOP_SIGNAL": "SIGTERM", "RAY_JOB_STOP_WAIT_TIME_S": "30"}


class SubmitResult(BaseModel):
    """Where a submitted job is.

    Attributes:
        id: by which the other commands know it.
        run: RUN on the cluster, None for a command without.
        attached: the same job was running already, and nothing was submitted.
        status: Ray's word.
        uploaded: what travelled; empty when ``attached``.
    """

    model_config = ConfigDict(frozen=True)

    id: str
    run: str | None
    attached: bool
    status: str
    uploaded: tuple[str, ...]


def submit(
    job_file: Path,
    address: str | None,
    overrides: Mapping[str, object],
    reporter: Reporter,
    on_text: Callable[[str], object] | None = None,
) -> SubmitResult:
    """Start a job on a cluster, or find it where it runs; what an earlier attempt finished is not done again.

    Args:
        job_file: as ``distq run`` or ``distq sweep`` takes it.
        address: the URL of the head's dashboard.
        overrides: options that replace the file's.
        reporter: takes warnings.
        on_text: with it, the job is followed to its end and what it prints goes there.

    Raises:
        UsageError: the job file or the address is wrong.
        ExecutionError: the job failed or was cancelled while it was followed.
    """
    submission = make_submission(job_file, overrides)
    jobs = connect(address, reporter)
    attempts, running = _attempts(jobs, submission.id)
    job_id = running.id if running else f"{submission.id}.{attempts + 1}" if attempts else submission.id
    if running is None:
        version = versions().get("distq", "")
        metadata = {"command": submission.command, "file": job_file.name, "distq": version}
        metadata |= {"run": submission.run} if submission.run else {}
        with temporary_folder() as folder:
            submission.write(folder)
            try:
                jobs.submit(job_id, submission.entrypoint, metadata, folder=folder, environment=_ENVIRONMENT)
            except ExecutionError:  # somebody submitted the same at the same time
                _, running = _attempts(jobs, submission.id)
                if running is None:
                    raise
                job_id = running.id
    if on_text is not None:
        for piece in jobs.follow(job_id):
            on_text(piece)
    job = jobs.get(job_id)
    if on_text is not None:
        require_success(jobs, job)
    return SubmitResult(
        id=job_id,
        run=submission.run,
        attached=running is not None,
        status=job.status,
        uploaded=() if running else tuple(sorted(submission.files)),
    )


def _attempts(jobs: RayJobs, submission_id: str) -> tuple[int, ClusterJob | None]:
    """How often a job was submitted, and the attempt that is not over."""
    attempts = [job for job in jobs.list() if job.id.split(".")[0] == submission_id]
    return len(attempts), next((job for job in attempts if not job.over), None)
