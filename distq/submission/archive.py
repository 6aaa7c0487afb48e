"""A run folder, or a sweep's, as lines of text: RUN comes back through a job's log, the way out of a cluster.

    distq-run 1 <files> <bytes>
    distq-file <name> <bytes> <SHA-256>       then its base64, in lines
    distq-end

Other lines between files are someone else's and ignored.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from distq.errors import ExecutionError, UsageError
from distq.files import cannot_write, sha256_file
from distq.run.rundir import RunDir
from distq.run.seal import require_undamaged

SWEEP_FILES = ("results.csv", "results.json", "report.html")

LARGEST_RUN = 1 << 30
"""Bytes: the log stays on the head's disk until the cluster ends, at 4/3 of this."""

_FORMAT = "distq-run 1"
_LINE_BYTES = 9_000  # 12,000 characters: Ray hands a log on in pieces of 20,000
_AGAIN = "fetch it again"
_NAME = re.compile(r"[0-9A-Za-z+_-][0-9A-Za-z._+-]*/", re.ASCII)
"""Folder of a run within a sweep (:mod:`distq.sweeps.matrix` makes these names)."""


def write_run(folder: Path, write: Callable[[str], object]) -> None:
    """Write the files of a run that are for a user.

    Args:
        folder: RUN.
        write: takes text.

    Raises:
        UsageError: it is no run, holds nothing yet, or is larger than ``LARGEST_RUN``.
        FileFormatError: a file is not what the run wrote.
    """
    files = RunDir(folder).files() or _sweep_files(folder)
    if not files:
        raise UsageError(f"{folder} holds no run of distq on this machine: is it the right path?")
    require_undamaged(*files)
    total = sum(path.stat().st_size for path in files)
    if total > LARGEST_RUN:
        raise UsageError(
            f"{folder} holds {total / (1 << 30):.1f} GiB, and {LARGEST_RUN >> 30} GiB is the most that goes "
            "through the HTTP port: copy it from the storage it lies on"
        )
    write(f"{_FORMAT} {len(files)} {total}\n")
    for path in files:
        write(f"distq-file {path.relative_to(folder).as_posix()} {path.stat().st_size} {sha256_file(path)}\n")
        with path.open("rb") as stream:
            while piece := stream.read(_LINE_BYTES):
                write(base64.b64encode(piece).decode("ascii") + "\n")
    write("distq-end\n")


def read_run(
    pieces: Iterable[str], folder: Path, on_size: Callable[[int], object], on_bytes: Callable[[int], object]
) -> tuple[Path, ...]:
    """Write the files of a run into a folder.

    Args:
        pieces: what :func:`write_run` wrote, cut anywhere.
        folder: is there and empty.
        on_size: is told how many bytes will come.
        on_bytes: is told how many more came.

    Raises:
        ExecutionError: what came is not whole, or names another file than those of a run, or cannot be
            written.
    """
    lines = _lines(pieces)
    known = {path.name for path in RunDir(folder).every_file()} | set(SWEEP_FILES)
    written = []
    for line in lines:
        match line.split():
            case ["distq-run", "1", _, total] if total.isdigit():
                on_size(int(total))
            case ["distq-file", name, size, sha256] if _file_of(name) in known and size.isdigit():
                path = folder / name
                try:
                    path.parent.mkdir(exist_ok=True)
                    _read_file(lines, path, int(size), on_bytes)
                except OSError as error:
                    raise cannot_write(path, error, f"then {_AGAIN}") from error
                if sha256_file(path) != sha256:
                    raise ExecutionError(f"{name} came damaged: {_AGAIN}")
                written.append(path)
            case ["distq-file", *_]:
                raise ExecutionError(f"the cluster sent a file that belongs to no run: {line[:80]!r}")
            case ["distq-end"]:
                return tuple(written)
    raise ExecutionError(f"the run did not come whole: {_AGAIN}")


def _file_of(name: str) -> str:
    """The name without the folder of a run; what is no such folder stays, and is then no known name."""
    folder = _NAME.match(name)
    return name[folder.end() :] if folder else name


def _sweep_files(folder: Path) -> tuple[Path, ...]:
    """Results of a sweep and of each of its runs, as far as they are there."""
    results = [folder / name for name in SWEEP_FILES if (folder / name).is_file()]
    runs = sorted(path for path in folder.glob("*") if path.is_dir() and _NAME.fullmatch(f"{path.name}/"))
    return (*results, *(path for run in runs for path in RunDir(run).files()))


def _read_file(lines: Iterator[str], path: Path, size: int, on_bytes: Callable[[int], object]) -> None:
    left = size
    with path.open("wb") as stream:
        while left > 0:
            try:
                piece = base64.b64decode(next(lines, ""), validate=True)
            except binascii.Error:
                piece = b""
            if not piece or len(piece) > left:
                raise ExecutionError(f"{path.name} came damaged: {_AGAIN}")
            stream.write(piece)
            left -= len(piece)
            on_bytes(len(piece))
        stream.flush()
        os.fsync(stream.fileno())


def _lines(pieces: Iterable[str]) -> Iterator[str]:
    """Whole lines of a text that comes in pieces."""
    rest = ""
    for piece in pieces:
        *whole, rest = (rest + piece).split("\n")
        yield from whole
    if rest:
        yield rest
