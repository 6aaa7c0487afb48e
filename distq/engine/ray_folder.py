"""The temporary folder of a Ray that distq starts, and what becomes of it when its process is killed.

The folder is ``distq-XXXXXXXX`` with a file ``owner`` in it, which its process keeps locked (flock). The
kernel lets go of the lock however the process ends; so a folder whose lock is free, and whose Ray answers no
more, is nobody's. The folders of large weights (``distq-weights-XXXXXXXX``) are held in the same way.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import socket
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from distq.ending import OWNER, hold

_PREFIX = "distq-"
_LONGEST_PATH = 40
_ANSWER_SECONDS = 1.0


@dataclass(frozen=True)
class RayFolder:
    """A folder that this process holds.

    Attributes:
        path: given to Ray, which puts sockets and logs into it.
    """

    path: Path
    _lock: int

    @classmethod
    def make(cls) -> Self:
        """Make a new folder that only the user can enter, with a path short enough for Ray's sockets."""
        path = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=_bases()[0]))
        return cls(path, hold(path))

    def remove(self) -> None:
        """Remove the folder; what Ray's last process may still write into it is left to a later command."""
        _remove(self.path)
        os.close(self._lock)


def remove_abandoned_folders() -> None:
    """Remove the folders of distq processes that were killed; those in use, and other people's, stay."""
    for base in _bases():
        for path in base.glob(f"{_PREFIX}*"):
            with contextlib.suppress(OSError):  # gone meanwhile, not ours, or held
                _remove_if_abandoned(path)


def _remove_if_abandoned(path: Path) -> None:
    state = path.lstat()
    if path.is_symlink() or state.st_uid != os.getuid():
        return
    lock = os.open(path / OWNER, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not any(map(_answers, path.glob("session_*/sockets/raylet*"))):
            _remove(path)
    finally:
        os.close(lock)


def _remove(path: Path) -> None:
    """Remove a folder, its owner file last: what is left of it stays known as ours."""
    for entry in path.iterdir():
        if entry.name == OWNER:
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry, ignore_errors=True)
        else:
            entry.unlink(missing_ok=True)
    if [entry.name for entry in path.iterdir()] == [OWNER]:
        shutil.rmtree(path, ignore_errors=True)


def _answers(path: Path) -> bool:
    """Whether a process listens on a socket: Ray's outlive a killed driver by seconds."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(_ANSWER_SECONDS)
        return client.connect_ex(str(path)) == 0


def _bases() -> tuple[Path, ...]:
    """Where such folders can lie; new ones in the first."""
    # Ray's sockets lie 65 characters deeper, and the path of a socket ends at 107
    here, short = Path(tempfile.gettempdir()), Path("/tmp")  # noqa: S108  # mkdtemp makes a folder of our own in it
    # and Ray takes plain ASCII alone
    fits = str(here).isascii() and len(str(here)) <= _LONGEST_PATH - len("/distq-12345678")
    return (here,) if here == short else (here, short) if fits else (short, here)
