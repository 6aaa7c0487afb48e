"""A copy of a data set on a node's own disk: made by the first process that wants it, gone with the last.

Every process that reads a copy holds a shared lock on the file beside it, which the system takes back however
the process ends. A keeper, a small process that outlives them all, waits for the lock and removes the copy.
"""

from __future__ import annotations

import errno
import fcntl
import functools
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from distq.data.remote import read_url
from distq.errors import DataError, ExecutionError, UsageError
from distq.files import cannot_write, sha256_bytes, sha256_file
from distq.urls import shown, url_of

_ARRAYS = (".npz", ".npy")
_PIECE = 1 << 22

_KEEPER = """
import fcntl, os, shutil, sys
if os.fork():
    os._exit(0)
lock, *copies = sys.argv[1:]
file = os.open(lock, os.O_RDWR)
fcntl.flock(file, fcntl.LOCK_EX)
if os.path.exists(lock) and os.path.samestat(os.fstat(file), os.stat(lock)):
    for copy in copies:
        shutil.rmtree(copy, ignore_errors=True)
    os.unlink(lock)
"""


@dataclass(frozen=True)
class Stage:
    """What is copied to each node, and where.

    Attributes:
        folder: on a node's own disk; made where it is missing.
        sha256: of the LMDB's ``data.mdb``, or of the array's file.
    """

    folder: str
    sha256: str


def plan_stage(source: Path, folder: Path) -> Stage:
    """Hash a source that every node is to copy; this reads all of it, once a process.

    Args:
        source: An LMDB folder, or path or URL of an .npz or .npy.
        folder: Where a node keeps its copy.

    Raises:
        UsageError: the source is a list or a folder of images.
        DataError: it cannot be read.
    """
    if not _is_lmdb(source) and PurePosixPath(source).suffix.lower() not in _ARRAYS:
        raise UsageError(
            f"--stage-data copies an LMDB, .npz or .npy, and {shown(source)} is none: make an LMDB of it "
            "with 'distq dataset build', or leave --stage-data out"
        )
    url = url_of(source)
    if url is not None:
        return Stage(str(folder.absolute()), sha256_bytes(read_url(url)))
    path = _file(source)
    try:
        status = path.stat()
        sha256 = _hash_once(path, status.st_size, status.st_mtime_ns)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from None
    return Stage(str(folder.absolute()), sha256)


@functools.lru_cache(maxsize=16)
def _hash_once(path: Path, size: int, modified: int) -> str:
    del size, modified  # what tells that a file is still the same
    return sha256_file(path)


@dataclass
class LocalCopy:
    """A node's copy, which stays at least as long as this object is open.

    Attributes:
        path: the LMDB folder or array file.
        made: whether this process copied it.
    """

    path: Path
    made: bool
    _lease: int

    def close(self) -> None:
        """Let the copy go; the last to do so has it removed."""
        if self._lease >= 0:
            os.close(self._lease)
            self._lease = -1

    def __del__(self) -> None:
        self.close()


def local_copy(source: Path, stage: Stage) -> LocalCopy:
    """The copy on this node; of several processes the first makes it, the others wait.

    Raises:
        ExecutionError: there is no room for it, or it differs from what was hashed.
        DataError: the source cannot be read.
    """
    folder = Path(stage.folder)
    place = folder / f"distq-{stage.sha256[:32]}"
    lock = place.with_suffix(".lock")
    name = "data" if _is_lmdb(source) else f"data{PurePosixPath(source).suffix.lower()}"
    made = False
    while True:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lease = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise _no_room(place, error) from error
        try:
            if _locked(lease, fcntl.LOCK_EX | fcntl.LOCK_NB) and _is_there(lease, lock):
                try:
                    _make(source, stage, place, name)
                    _start_keeper(lock, place)
                except BaseException:
                    lock.unlink()
                    raise
                made = True
            fcntl.flock(lease, fcntl.LOCK_SH)  # a keeper or another maker may come between
            if _is_there(lease, lock) and place.is_dir():
                return LocalCopy(place / name, made, lease)
        except BaseException:
            os.close(lease)
            raise
        os.close(lease)


def _make(source: Path, stage: Stage, place: Path, name: str) -> None:
    """Copy and compare; nothing is left of a copy that failed, nor of one that nobody has a lease on."""
    part = place.with_suffix(".part")
    for old in (place, part):
        shutil.rmtree(old, ignore_errors=True)
    target = part / name if PurePosixPath(name).suffix else part / name / "data.mdb"
    try:
        try:
            target.parent.mkdir(parents=True)
            _copy(source, target)
        except OSError as error:
            raise _no_room(place, error) from error
        if sha256_file(target) != stage.sha256:
            raise ExecutionError(
                f"the copy of {shown(source)} on {platform.node()} is not what was hashed when the job "
                "began: the data has changed, or a disk is at fault; start again"
            )
        part.rename(place)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _copy(source: Path, target: Path) -> None:
    here = url_of(source) is None and _file(source).is_file()
    if here and shutil.disk_usage(target.parent).free < _file(source).stat().st_size:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with target.open("wb") as stream:
        for piece in _pieces(source):
            stream.write(piece)
        stream.flush()
        os.fsync(stream.fileno())


def _pieces(source: Path) -> Iterator[bytes]:
    """The source's content; what goes wrong with reading it is not taken for a full disk.

    Raises:
        DataError: it cannot be read.
    """
    url = url_of(source)
    if url is not None:
        yield read_url(url)
        return
    path = _file(source)
    try:
        with path.open("rb") as stream:
            while piece := stream.read(_PIECE):
                yield piece
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from None


def _start_keeper(lock: Path, place: Path) -> None:
    """Have a process of its own, child of nobody, remove the copy when all leases are gone."""
    copies = [str(place), str(place.with_suffix(".part"))]
    command = [sys.executable, "-I", "-S", "-c", _KEEPER, str(lock), *copies]
    nothing = subprocess.DEVNULL
    subprocess.run(  # noqa: S603  # our own interpreter and text
        command, check=True, stdin=nothing, stdout=nothing, stderr=nothing, cwd="/", start_new_session=True
    )


def _locked(file: int, how: int) -> bool:
    try:
        fcntl.flock(file, how)
    except BlockingIOError:
        return False
    return True


def _is_there(file: int, path: Path) -> bool:
    """Whether a keeper has not removed a lock file since it was opened."""
    try:
        return os.path.samestat(os.fstat(file), path.stat())
    except FileNotFoundError:
        return False


def _no_room(place: Path, error: OSError) -> ExecutionError:
    return cannot_write(f"{place} on {platform.node()}", error, "or give another --stage-data, then --resume")


def _is_lmdb(source: Path) -> bool:
    return url_of(source) is None and (source / "data.mdb").exists()


def _file(source: Path) -> Path:
    return source / "data.mdb" if _is_lmdb(source) else source
