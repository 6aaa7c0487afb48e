"""What of a job travels to a cluster: the job file and the small files it names; never a model or data.

Options that are a path come in two kinds. Small files (preprocessing, labels, a threshold table,
distributions) are uploaded where they exist here. All others, the model, the data and RUN, are paths on the
cluster: absolute, and for the data the same on all its nodes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import get_type_hints

import yaml

from distq.errors import UsageError
from distq.files import atomic_write
from distq.jobs.jobfile import load_job, read_job_file

JOB_FILE = "job.yaml"
LARGEST_FILE = 16 << 20
SMALL_FILES = ("preprocess", "labels", "table", "load_dist")
_LEFT_BEHIND = ("address", "resume")  # the cluster is where it runs, and it always resumes


@dataclass(frozen=True)
class Submission:
    """A job ready to travel.

    Attributes:
        id: made from the content of all files: the same job has the same.
        command: the distq command in the job file.
        run: RUN on the cluster; None where the command has none.
        files: what is uploaded, by its path in the job's folder.
    """

    id: str
    command: str
    run: str | None
    files: Mapping[str, bytes]

    @property
    def entrypoint(self) -> str:
        """What the head runs; a RUN that is there already is continued."""
        return f"distq run {JOB_FILE}" + (" --resume" if self.run else "")

    def write(self, folder: Path) -> None:
        """Lay the files out.

        Raises:
            ExecutionError: there is no room for them.
        """
        for name, content in self.files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            atomic_write(path, content)


def make_submission(job_file: Path, overrides: Mapping[str, object] | None = None) -> Submission:
    """Check a job file and gather what is uploaded for it.

    Args:
        job_file: as ``distq run`` takes it.
        overrides: options that replace the file's; no paths.

    Raises:
        UsageError: the job file is wrong, a path on the cluster is relative, or a small file is missing or
            not small.
    """
    options = load_job(job_file, overrides).options
    values = {**read_job_file(job_file), **(overrides or {})}
    files: dict[str, bytes] = {}
    for name, hint in get_type_hints(type(options)).items():
        if hint not in {Path, Path | None} or values.get(name) is None:
            continue
        given = str(values[name])
        if name in SMALL_FILES and _is_here(job_file, given):
            uploaded = f"{name}/{PurePosixPath(given).name}"
            files[uploaded] = _small_file(job_file, name, job_file.parent / given)
            values[name] = uploaded
        elif not _absolute(given):
            raise UsageError(_relative(job_file, name, given))
    for name in _LEFT_BEHIND:
        values.pop(name, None)
    files[JOB_FILE] = yaml.safe_dump(values, sort_keys=True, allow_unicode=True).encode()
    run = values.get("out")
    return Submission(_id(files), str(values["command"]), str(run) if run else None, files)


def _is_here(job_file: Path, given: str) -> bool:
    return (job_file.parent / given).is_file()


def _absolute(given: str) -> bool:
    return PurePosixPath(given).is_absolute() or "://" in given


def _relative(job_file: Path, name: str, given: str) -> str:
    if name in SMALL_FILES:
        return (
            f"{job_file}: {name} {given} is not there: correct it, or give its absolute path on the cluster"
        )
    return (
        f"{job_file}: {name} {given} is relative: models, data and RUN are not uploaded, give the absolute "
        "path that it has on the cluster"
    )


def _small_file(job_file: Path, name: str, path: Path) -> bytes:
    try:
        if path.stat().st_size <= LARGEST_FILE:
            return path.read_bytes()
    except OSError as error:
        raise UsageError(f"{job_file}: {name} {path} cannot be read: {error.strerror}") from None
    raise UsageError(
        f"{job_file}: {name} {path} is over {LARGEST_FILE >> 20} MiB and is not uploaded: put it on the "
        "cluster, under another absolute path than here"
    )


def _id(files: Mapping[str, bytes]) -> str:
    digest = hashlib.sha256()
    for name in sorted(files):
        digest.update(f"{name}\0{len(files[name])}\0".encode())
        digest.update(files[name])
    return f"distq-{digest.hexdigest()[:12]}"
