"""What of a job travels to a cluster: the job file and the small files it names; never a model or data.

Options that are a path come in two kinds. Small files (preprocessing, labels, a threshold table,
distributions, settings by layer) are uploaded where they exist here. All others, the model, the data and RUN,
are paths on the cluster: absolute, and for the data the same on all its nodes.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import get_type_hints

import yaml

from distq.config import TuneOptions, joined_files
from distq.errors import UsageError
from distq.files import atomic_write
from distq.jobfile import RUNNING, JobOptions, load_job, read_job_file
from distq.sweeps.matrix import is_sweep, load_sweep

JOB_FILE = "job.yaml"
LARGEST_FILE = 16 << 20
SMALL_FILES = ("preprocess", "input_config", "labels", "table", "load_dist", "layer_config", "annotations")
MEASURES = ("measure", "diff")
"""Options that may name Python files."""
_LEFT_BEHIND = ("address", "resume")  # the cluster is where it runs, and it always resumes


@dataclass(frozen=True)
class Submission:
    """A job ready to travel.

    Attributes:
        id: made from the content of all files: the same job has the same.
        command: the distq command in the job file; of a sweep file, sweep.
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
        verb = "sweep" if self.command == "sweep" else "run"
        return f"distq {verb} {JOB_FILE}" + (" --resume" if self.run else "")

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
        job_file: as ``distq run`` or ``distq sweep`` takes it.
        overrides: options that replace the file's; no paths.

    Raises:
        UsageError: the job file is wrong, a path on the cluster is relative, or a small file is missing or
            not small.
    """
    content = read_job_file(job_file)
    if is_sweep(content):
        load_sweep(job_file, overrides)
        uploads = _Uploads(job_file, TuneOptions)
        values, command = uploads.packed_sweep({**content, **(overrides or {})}), "sweep"
    else:
        uploads = _Uploads(job_file, type(load_job(job_file, overrides, RUNNING).options))
        values = uploads.packed({**content, **(overrides or {})})
        command = str(values["command"])
    for name in _LEFT_BEHIND:
        values.pop(name, None)
    files = {**uploads.files, JOB_FILE: yaml.safe_dump(values, sort_keys=True, allow_unicode=True).encode()}
    run = values.get("out")
    return Submission(_id(files), command, str(run) if run else None, files)


class _Uploads:
    """Gathers small files, and rewrites options to where they will be."""

    def __init__(self, job_file: Path, kind: type[JobOptions]) -> None:
        hints = get_type_hints(kind)
        self.files: dict[str, bytes] = {}
        self._job_file = job_file
        self._paths = {name for name in hints if hints[name] in (Path, Path | None)}
        self._uploaded: dict[tuple[str, str], str] = {}  # by option and path as given

    def packed(self, values: Mapping[str, object]) -> dict[str, object]:
        """Options as the cluster will read them."""
        return {name: self._packed(name, value) for name, value in values.items()}

    def packed_sweep(self, content: Mapping[str, object]) -> dict[str, object]:
        """A sweep file that was checked, as the cluster will read it."""
        sections = ("matrix", "include", "exclude")
        values = self.packed({name: value for name, value in content.items() if name not in sections})
        if "matrix" in content:
            axes = _mapping(content["matrix"])
            values["matrix"] = {axis: [self._choice(axis, c) for c in _list(axes[axis])] for axis in axes}
        if "include" in content:
            values["include"] = [self.packed(_mapping(entry)) for entry in _list(content["include"])]
        if "exclude" in content:
            values["exclude"] = [self._excluded(_mapping(entry)) for entry in _list(content["exclude"])]
        return values

    def _choice(self, axis: str, value: object) -> object:
        return self.packed(value) if isinstance(value, dict) else self._packed(axis, value)

    def _excluded(self, entry: Mapping[str, object]) -> dict[str, object]:
        """What an exclude names may be a path that has another name by now."""

        def renamed(name: str, value: object) -> object:
            if isinstance(value, list):
                return [renamed(name, one) for one in value]
            return self._uploaded.get((name, str(value)), value)

        return {name: renamed(name, value) for name, value in entry.items()}

    def _packed(self, name: str, value: object) -> object:
        if name in MEASURES:
            return self._measures(name, value)
        if name not in self._paths or value is None:
            return value
        given = str(joined_files(value))
        if name == "preprocess" and "," in given and not _is_here(self._job_file, given):
            return ",".join(str(self._packed(name, part.strip())) for part in given.split(","))
        if name in SMALL_FILES and _is_here(self._job_file, given):
            return self._upload(name, given)
        if not _absolute(given):
            raise UsageError(_relative(self._job_file, name, given))
        return value

    def _measures(self, name: str, value: object) -> object:
        """Names of measures, whose Python files travel."""
        if isinstance(value, list):
            return [self._measures(name, one) for one in value]
        parts = [part.strip() for part in value.split(",")] if isinstance(value, str) else []
        if not any(part.endswith(".py") for part in parts):
            return value
        return ",".join(self._measure(name, part) for part in parts)

    def _measure(self, name: str, part: str) -> str:
        if not part.endswith(".py"):
            return part
        if _is_here(self._job_file, part):
            return self._upload(name, part)
        if not _absolute(part):
            raise UsageError(_relative(self._job_file, name, part))
        return part

    def _upload(self, name: str, given: str) -> str:
        if (name, given) not in self._uploaded:
            content = _small_file(self._job_file, name, self._job_file.parent / given)
            file = PurePosixPath(given).name
            places = itertools.chain([f"{name}/{file}"], (f"{name}/{n}/{file}" for n in itertools.count(2)))
            place = next(place for place in places if self.files.get(place, content) == content)
            self.files[place] = content
            self._uploaded[name, given] = place
        return self._uploaded[name, given]


def _mapping(value: object) -> dict[str, object]:
    """What reading the sweep has found to be one."""
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[object]:
    """What reading the sweep has found to be one."""
    return value if isinstance(value, list) else []


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
