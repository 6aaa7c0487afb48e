"""``distq fetch``: bring the files of RUN from a cluster, through the log of a small job that prints them."""

from __future__ import annotations

import shlex
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from pydantic import BaseModel, ConfigDict

from distq.engine.progress import Reporter
from distq.engine.ray_jobs import RayJobs
from distq.errors import ExecutionError, UsageError
from distq.files import require_place, sync_folder
from distq.submission.archive import read_run, write_run
from distq.submission.head import FETCH_PREFIX, JOB_PREFIX, connect, find_job, require_success
from distq.urls import why_unusable


class FetchResult(BaseModel):
    """What came back.

    Attributes:
        id: of the job.
        finished: whether the run came to its end.
        files: on this machine.
    """

    model_config = ConfigDict(frozen=True)

    id: str
    finished: bool
    files: tuple[Path, ...]


def fetch(job_id: str, address: str | None, out: Path | None, reporter: Reporter) -> FetchResult:
    """Bring the files of RUN here, through the log of a small job that prints them.

    Args:
        job_id: of a job that is over.
        address: the URL of the head's dashboard.
        out: the folder to make; None: named as RUN, here.
        reporter: shows how far it is.

    Raises:
        UsageError: there is no such job, it is not over, it has no RUN, nothing is in RUN, or ``out`` exists.
        ExecutionError: RUN did not come whole.
    """
    jobs = connect(address, reporter)
    job = find_job(jobs, job_id)
    run = job.metadata.get("run")
    if run is None:
        raise UsageError(f"{job_id} has no RUN: 'distq {job.metadata['command']}' only prints its result")
    if not job.over:
        raise UsageError(f"{job_id} is {job.status}: RUN is fetched when the job is over")
    folder = out or Path(PurePosixPath(run).name)
    reason = why_unusable(folder)
    if reason is not None:
        raise UsageError(f"--out {folder}: {reason}")
    if folder.exists() or folder.is_symlink():
        raise UsageError(f"{folder} exists: give another --out")
    parent = folder.absolute().parent
    if not parent.is_dir():
        raise UsageError(f"folder {parent} does not exist: make it first")
    require_place(folder, "--out")
    temporary = Path(tempfile.mkdtemp(dir=parent, prefix=".distq-fetch."))
    try:
        received = _receive(jobs, job_id, run, temporary, reporter)
        names = [path.relative_to(temporary).as_posix() for path in received]
        temporary.chmod(0o755)
        temporary.rename(folder)
        sync_folder(parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return FetchResult(
        id=job_id,
        finished=not {"metrics.json", "results.json"}.isdisjoint(names),
        files=tuple(folder / name for name in names),
    )


def print_run(folder: Path, write: Callable[[str], object]) -> None:
    """What :func:`fetch` runs on the cluster."""
    write_run(folder, write)


def _receive(jobs: RayJobs, job_id: str, run: str, folder: Path, reporter: Reporter) -> tuple[Path, ...]:
    """Have the cluster print RUN, and write it into a folder."""
    count = sum(job.id.startswith(FETCH_PREFIX) for job in jobs.list())
    helper = f"{FETCH_PREFIX}{job_id.removeprefix(JOB_PREFIX)}.{count + 1}"
    jobs.submit(helper, f"distq print-run {shlex.quote(run)}", {})
    try:
        files = read_run(
            jobs.follow(helper), folder, lambda size: reporter.start("fetch", size, "bytes"), reporter.advance
        )
    except ExecutionError:
        require_success(jobs, jobs.get(helper))  # what the cluster said goes first
        raise
    finally:
        reporter.finish()
    return files
