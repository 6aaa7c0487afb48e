"""Jobs on a cluster: submit, list, follow, cancel, and bring RUN back."""

from __future__ import annotations

import shlex
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath

from pydantic import BaseModel, ConfigDict

import distq
from distq.engine.progress import Reporter
from distq.engine.ray_jobs import ClusterJob, RayJobs
from distq.errors import ExecutionError, UsageError
from distq.files import sync_folder
from distq.jobs.archive import read_run, write_run
from distq.jobs.submission import make_submission

_JOB, _FETCH = "distq-", "distq-fetch-"
_NOT_FOUND = 127
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
    jobs = _connect(address, reporter)
    attempts = [job for job in jobs.list() if job.id.split(".")[0] == submission.id]
    running = next((job for job in attempts if not job.over), None)
    job_id = running.id if running else f"{submission.id}.{len(attempts) + 1}" if attempts else submission.id
    if running is None:
        metadata = {"command": submission.command, "file": job_file.name, "distq": distq.__version__}
        metadata |= {"run": submission.run} if submission.run else {}
        with tempfile.TemporaryDirectory(prefix="distq-") as folder:
            submission.write(Path(folder))
            jobs.submit(
                job_id, submission.entrypoint, metadata, folder=Path(folder), environment=_ENVIRONMENT
            )
    if on_text is not None:
        for piece in jobs.follow(job_id):
            on_text(piece)
    job = jobs.get(job_id)
    if on_text is not None:
        _require_success(jobs, job)
    return SubmitResult(
        id=job_id,
        run=submission.run,
        attached=running is not None,
        status=job.status,
        uploaded=() if running else tuple(sorted(submission.files)),
    )


def list_jobs(address: str | None, reporter: Reporter) -> tuple[ClusterJob, ...]:
    """The distq jobs that a cluster knows, the oldest first."""
    return tuple(job for job in _connect(address, reporter).list() if _is_job(job.id))


def cancel(job_id: str, address: str | None, reporter: Reporter) -> ClusterJob:
    """End a job; what it finished stays in RUN, and submitting it again continues.

    Raises:
        UsageError: the cluster knows no such job, or it is over already.
    """
    jobs = _connect(address, reporter)
    job = _find(jobs, job_id)
    if job.over:
        raise UsageError(f"{job_id} is over already: {job.status}")
    jobs.stop(job_id)
    for _ in jobs.follow(job_id):  # until it is over
        pass
    return jobs.get(job_id)


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
    jobs = _connect(address, reporter)
    job = _find(jobs, job_id)
    run = job.metadata.get("run")
    if run is None:
        raise UsageError(f"{job_id} has no RUN: 'distq {job.metadata['command']}' only prints its result")
    if not job.over:
        raise UsageError(f"{job_id} is {job.status}: RUN is fetched when the job is over")
    folder = out or Path(PurePosixPath(run).name)
    if folder.exists() or folder.is_symlink():
        raise UsageError(f"{folder} exists: give another --out")
    parent = folder.absolute().parent
    if not parent.is_dir():
        raise UsageError(f"folder {parent} does not exist: make it first")
    temporary = Path(tempfile.mkdtemp(dir=parent, prefix=f".{folder.name}."))
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
    count = sum(job.id.startswith(_FETCH) for job in jobs.list())
    helper = f"{_FETCH}{job_id.removeprefix(_JOB)}.{count + 1}"
    jobs.submit(helper, f"distq print-run {shlex.quote(run)}", {})
    try:
        files = read_run(
            jobs.follow(helper), folder, lambda size: reporter.start("fetch", size, "bytes"), reporter.advance
        )
    except ExecutionError:
        _require_success(jobs, jobs.get(helper))  # what the cluster said goes first
        raise
    finally:
        reporter.finish()
    return files


def _connect(address: str | None, reporter: Reporter) -> RayJobs:
    jobs = RayJobs(address)
    if not jobs.guarded:
        reporter.warn(
            f"{jobs.address} asks for no token: whoever reaches it can run code there; "
            "start the head with RAY_AUTH_MODE=token"
        )
    return jobs


def _find(jobs: RayJobs, job_id: str) -> ClusterJob:
    job = jobs.get(job_id)
    if not _is_job(job_id) or "command" not in job.metadata:
        raise UsageError(f"{job_id} was not submitted by distq: see 'distq jobs'")
    return job


def _is_job(job_id: str) -> bool:
    return job_id.startswith(_JOB) and not job_id.startswith(_FETCH)


def _require_success(jobs: RayJobs, job: ClusterJob) -> None:
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
