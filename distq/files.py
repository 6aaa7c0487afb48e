"""Files written whole or not at all, and their SHA-256."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from distq.errors import ExecutionError, UsageError
from distq.regular import open_regular

BROKEN_ARCHIVE = (zipfile.BadZipFile, zlib.error, EOFError, ValueError, RuntimeError)
"""What reading a damaged .npz raises; RuntimeError: of a password, or of a compression nobody knows."""

_PREFIX = 50  # characters of a file's name in that of its temporary one, which must not be too long either
_FULL = {errno.ENOSPC, errno.EFBIG, errno.EDQUOT}


def is_full(error: OSError) -> bool:
    """Whether what failed failed for want of room."""
    return error.errno in _FULL


def cannot_write(path: Path | str, error: OSError, then: str = "then --resume") -> ExecutionError:
    """What a person is told of a file that the disk does not take: its name, the reason and the remedy."""
    remedy = "make room on the disk" if is_full(error) else "make it writable"
    return ExecutionError(f"{path} cannot be written: {error.strerror}; {remedy}, {then}")


def require_place(path: Path, option: str) -> None:
    """Refuse a file or folder that cannot be made in its folder, before the work that it is to hold.

    Raises:
        UsageError: nothing can be made there.
        ExecutionError: the disk is full.
    """
    try:
        with tempfile.TemporaryFile(dir=path.absolute().parent):
            return
    except OSError as error:
        if is_full(error):
            raise cannot_write(path, error) from error
        raise UsageError(
            f"{option} {path} cannot be written: {error.strerror}; give one in another folder"
        ) from None


def make_run_folder(path: Path) -> None:
    """Make the folder of ``--out`` and those above it.

    Raises:
        UsageError: it cannot be there.
        ExecutionError: the disk is full.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        if is_full(error):
            raise cannot_write(path, error) from error
        raise UsageError(f"{path} cannot be made: {error.strerror}; give another --out") from error


def out_is_taken(out: Path, what: str, *, begun: bool, resume: str = "--resume") -> UsageError:
    """What to say of an ``--out`` that is not free.

    Args:
        out: the path.
        what: would be made there.
        begun: whether it is such a folder, so that it can be continued.
        resume: the option that continues it.
    """
    option = "out" if "=" in resume else "--out"
    if not out.is_dir():
        return UsageError(f"{out} exists and is no folder: give another {option}")
    if not begun:
        return UsageError(f"{out} exists and is no folder of a {what}: give another {option}")
    return UsageError(f"{out} exists: give another {option}, or {resume} to continue the {what} in it")


def write_first(path: Path, data: bytes) -> None:
    """Write a file that must not be there: of two processes that do so at once, one does not.

    Raises:
        FileExistsError: it is there; it was left alone.
        ExecutionError: it cannot be written; nothing was left.
    """
    try:
        with path.open("xb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
    except FileExistsError:
        raise
    except OSError as error:
        path.unlink(missing_ok=True)
        raise cannot_write(path, error) from error
    sync_folder(path.parent)


def atomic_write(path: Path, data: bytes) -> None:
    """Replace ``path`` by ``data``: a reader, a full disk or a power cut sees the old file or the new one.

    Raises:
        ExecutionError: it cannot be written; nothing was replaced.
    """
    try:
        _replace(path, data)
    except OSError as error:
        raise cannot_write(path, error) from error


def atomic_copy(source: Path, path: Path) -> None:
    """Replace ``path`` by a copy of a file of any size, as :func:`atomic_write` does.

    Raises:
        ExecutionError: it cannot be read or written; nothing was replaced.
    """
    try:
        with open_regular(source) as content, atomic_stream(path) as stream:
            shutil.copyfileobj(content, stream)
    except OSError as error:
        raise cannot_write(path, error) from error


def _replace(path: Path, data: bytes) -> None:
    with atomic_stream(path) as stream:
        stream.write(data)


@contextlib.contextmanager
def atomic_stream(path: Path) -> Iterator[BinaryIO]:
    """A stream whose content replaces ``path`` at the end, if nothing was raised.

    Raises:
        OSError: it cannot be written; nothing was replaced.
    """
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:_PREFIX]}.")
    try:
        with os.fdopen(handle, "wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            Path(temporary).unlink()
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make a rename inside ``folder`` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256_bytes(data: bytes) -> str:
    """SHA-256 in hex."""
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: Path) -> str:
    """SHA-256 of a file in hex, read in pieces."""
    with open_regular(path) as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
