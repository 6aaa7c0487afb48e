"""``distq watch``: what a run is at, here or on a cluster, again and again until it ends."""

from __future__ import annotations

import shlex
import time
from collections.abc import Generator, Iterator
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from distq.engine.progress import Reporter
from distq.engine.ray_jobs import RayJobs
from distq.errors import ExecutionError, UsageError
from distq.run.rundir import RunDir
from distq.run.watching import Status, Watcher
from distq.run_options import WatchOptions
from distq.submission.head import FETCH_PREFIX, JOB_PREFIX, connect, find_job, is_job, require_success

STATUS = TypeAdapter(Status)
"""A status as JSON and back."""


def watch(options: WatchOptions, reporter: Reporter, *, wait: bool = False) -> Generator[Status]:
    """What a run in a folder, or that of a submitted job, is at.

    Args:
        options: with ``address``, or where ``run`` is the id of a job and no folder, it is a job.
        reporter: is warned where the head asks for no token.
        wait: of a folder, also for the run to begin.

    Raises:
        InputError: as :func:`watch_run` and :func:`watch_job`.
        ExecutionError: as :func:`watch_job`.
    """
    run = options.run
    if options.address is None and not (is_job(str(run)) and not run.exists()):
        return watch_run(run, options.every, wait=wait)
    return watch_job(str(run), options.address, options.every, reporter)


def watch_run(run: Path, every: float, *, wait: bool = False) -> Generator[Status]:
    """What a run is at, every so many seconds; the last is of its end.

    Args:
        run: its folder.
        every: seconds between two looks.
        wait: also for the run to begin.

    Raises:
        UsageError: the folder is no run.
        FileFormatError: its journal cannot be read.
    """
    while wait and not RunDir(run).run.is_file():
        yield Status(run, "starting")
        time.sleep(every)
    watcher = Watcher(run)
    while True:
        status = watcher.look()
        yield status
        if status.over:
            return
        time.sleep(every)


def watch_job(job_id: str, address: str | None, every: float, reporter: Reporter) -> Generator[Status]:
    """The same of a job that was submitted, through the log of a small job that looks at RUN there.

    Args:
        job_id: as ``distq submit`` shows it.
        address: the URL of the head's dashboard.
        every: seconds between two looks.
        reporter: is warned where the head asks for no token.

    Raises:
        UsageError: there is no such job, or it has no RUN.
        ExecutionError: the job failed before its run began, or the cluster cannot look at it.
    """
    jobs = connect(address, reporter)
    job = find_job(jobs, job_id)
    run = job.metadata.get("run")
    if run is None:
        raise UsageError(f"{job_id} has no RUN: 'distq {job.metadata['command']}' only prints its result")
    while job.status == "PENDING":
        yield Status(Path(run), "starting")
        time.sleep(every)
        job = jobs.get(job_id)
    count = sum(one.id.startswith(FETCH_PREFIX) for one in jobs.list())
    helper = f"{FETCH_PREFIX}{job_id.removeprefix(JOB_PREFIX)}.{count + 1}"
    wait = "" if job.over else " --wait"
    jobs.submit(helper, f"distq watch {shlex.quote(run)} --json --every {every:g}{wait}", {})
    try:
        for status in _statuses(jobs, helper):
            yield status
            if status.over:
                return
            if status.state == "starting" and (job := jobs.get(job_id)).over:
                require_success(jobs, job)
                return
        require_success(jobs, jobs.get(helper))
    finally:
        if not jobs.get(helper).over:
            jobs.stop(helper)


def _statuses(jobs: RayJobs, helper: str) -> Iterator[Status]:
    """What the small job prints, a line each; other lines are someone else's."""
    rest = ""
    for piece in jobs.follow(helper):
        *lines, rest = (rest + piece).split("\n")
        for line in lines:
            if not line.startswith("{"):
                continue
            try:
                yield STATUS.validate_json(line)
            except ValidationError as error:
                raise ExecutionError(
                    "the cluster has another version of distq: install the same here and there"
                ) from error
