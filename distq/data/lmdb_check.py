"""Whether an LMDB is whole, looked at before the library maps it.

Touching a page beyond the end of a mapped file kills the process with SIGBUS, so a truncated database must be
found by arithmetic on file sizes, and a damaged one by walking its pages.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from distq.data.lmdb_pages import PageError, check_tree
from distq.errors import DataError
from distq.regular import open_regular

_MAGIC = 0xBEEFC0DE
_META_BYTES = 152  # a page header of 16 bytes and MDB_meta
_EMPTY = (1 << 64) - 1  # the root of a database without records


@dataclass(frozen=True)
class _Meta:
    """One of the two meta pages: the newer transaction's counts."""

    page_size: int
    flags: int
    depth: int
    root: int
    last_page: int
    transaction: int


def check_lmdb(folder: Path) -> None:
    """Check that every page the database uses is in its file, and that its records lie in their pages.

    Raises:
        DataError: ``data.mdb`` is missing, foreign, empty, shorter than its last page, or damaged.
    """
    path = folder / "data.mdb"
    try:
        size = path.stat().st_size
        with open_regular(path) as stream:
            first = _read_meta(stream.read(_META_BYTES))
            page_size = first.page_size if first else 0
            if first is None or not 512 <= page_size <= 1 << 16 or page_size & (page_size - 1):
                raise DataError(
                    f"{path} is no LMDB of a 64-bit machine, or its first page is damaged: copy it again"
                )
            stream.seek(page_size)
            second = _read_meta(stream.read(_META_BYTES))
            if second is None:
                raise DataError(f"{path} is truncated or damaged in its second page: copy it again")
            meta = max(first, second, key=lambda each: each.transaction)
            needed = (meta.last_page + 1) * page_size
            if needed > size:
                raise DataError(f"{path} is truncated: {size} bytes of {needed}; copy it again")
            if meta.root == _EMPTY:
                return
            data = np.memmap(stream, np.uint8, "r")
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from None
    try:
        check_tree(data, page_size, meta.last_page, root=meta.root, depth=meta.depth, flags=meta.flags)
    except PageError as error:
        raise DataError(f"{path} is damaged or no LMDB of Caffe ({error}): copy or build it again") from None


def _read_meta(page: bytes) -> _Meta | None:
    """A meta page, or None where it is none.

    Offsets are those of MDB_meta in LMDB's mdb.c on a 64-bit machine; the page size is ``md_pad`` of its
    first MDB_db, the records are in its second.
    """
    if len(page) < _META_BYTES:
        return None
    magic, version = struct.unpack_from("<II", page, 16)
    if magic != _MAGIC or version != 1:
        return None
    (page_size,) = struct.unpack_from("<I", page, 40)
    flags, depth = struct.unpack_from("<HH", page, 92)
    root, last_page, transaction = struct.unpack_from("<QQQ", page, 128)
    return _Meta(page_size, flags, depth, root, last_page, transaction)
