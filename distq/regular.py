"""Reading regular files alone: a pipe or a device may never end, and a socket or folder has no content."""

from __future__ import annotations

import errno
import os
import stat
from io import BufferedReader
from pathlib import Path

_PIECE = 1 << 20
_KINDS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
    stat.S_IFDIR: "a folder",
}


LARGEST_FILE = 1 << 30
"""Bytes of a file that is read whole, and of an array inside one; models and whole data sets may be larger.

An uncompressed image of as many pixels as distq decodes has 300 MB.
"""


def open_regular(path: Path) -> BufferedReader:
    """Open a file for reading; links are followed.

    Raises:
        OSError: it is missing, cannot be read, or is no regular file, which ``strerror`` then says.
    """
    require_regular(path)
    return path.open("rb")


def read_regular(path: Path, most: int = LARGEST_FILE) -> bytes:
    """The whole content of a file.

    Args:
        path: of the file.
        most: bytes that it may have.

    Raises:
        OSError: as :func:`open_regular`, or it is larger.
    """
    with open_regular(path) as stream:
        size = os.fstat(stream.fileno()).st_size
        require_size(path, size, most)
        content = stream.read(size + 1)
        while len(content) > size:  # it grows meanwhile, or the kernel makes it up and gives it no size
            size = len(content)
            require_size(path, size, most)
            content += stream.read(_PIECE)
    return content


def require_size(path: Path, size: int, most: int = LARGEST_FILE) -> None:
    """Refuse what is too large to be read whole.

    Raises:
        OSError: saying both sizes.
    """
    if size > most:
        raise OSError(
            errno.EFBIG,
            f"it has {size / (1 << 30):.1f} GiB, over the limit of {most / (1 << 30):.0f} GiB",
            str(path),
        )


def require_regular(path: Path) -> None:
    """Check what a path is before it is opened: to open a pipe already waits for its writer.

    Raises:
        OSError: as :func:`open_regular`.
    """
    kind = stat.S_IFMT(path.stat().st_mode)
    if kind != stat.S_IFREG:
        number = errno.EISDIR if kind == stat.S_IFDIR else errno.EINVAL
        raise OSError(number, f"it is {_KINDS.get(kind, 'special')}, not a regular file", str(path))
