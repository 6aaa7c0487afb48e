"""Reading regular files alone: a pipe or a device may never end, and a socket or folder has no content."""

from __future__ import annotations

import errno
import stat
from io import BufferedReader
from pathlib import Path

_KINDS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
    stat.S_IFDIR: "a folder",
}


def open_regular(path: Path) -> BufferedReader:
    """Open a file for reading; links are followed.

    Raises:
        OSError: it is missing, cannot be read, or is no regular file, which ``strerror`` then says.
    """
    require_regular(path)
    return path.open("rb")


def read_regular(path: Path) -> bytes:
    """The whole content of a file.

    Raises:
        OSError: as :func:`open_regular`.
    """
    with open_regular(path) as stream:
        return stream.read()


def require_regular(path: Path) -> None:
    """Check what a path is before it is opened: to open a pipe already waits for its writer.

    Raises:
        OSError: as :func:`open_regular`.
    """
    kind = stat.S_IFMT(path.stat().st_mode)
    if kind != stat.S_IFREG:
        number = errno.EISDIR if kind == stat.S_IFDIR else errno.EINVAL
        raise OSError(number, f"it is {_KINDS.get(kind, 'special')}, not a regular file", str(path))
