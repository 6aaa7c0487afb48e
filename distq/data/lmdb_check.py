"""Whether an LMDB is whole, read from its meta pages before the library maps it.

Touching a page beyond the end of a mapped file kills the process with SIGBUS, so a truncated database must be
found by arithmetic on file sizes.
"""

from __future__ import annotations

import struct
from pathlib import Path

from distq.errors import DataError

_MAGIC = 0xBEEFC0DE
_META_BYTES = 152  # a page header of 16 bytes and MDB_meta


def check_lmdb(folder: Path) -> None:
    """Check that every page the database uses is in its file.

    Raises:
        DataError: ``data.mdb`` is missing, foreign, empty, or shorter than its last page.
    """
    path = folder / "data.mdb"
    try:
        size = path.stat().st_size
        with path.open("rb") as stream:
            first = _read_meta(stream.read(_META_BYTES))
            page_size = first[0] if first else 0
            if first is None or not 512 <= page_size <= 1 << 16 or page_size & (page_size - 1):
                raise DataError(
                    f"{path} is no LMDB of a 64-bit machine, or its first page is damaged: copy it again"
                )
            stream.seek(page_size)
            second = _read_meta(stream.read(_META_BYTES))
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from None
    if second is None:
        raise DataError(f"{path} is truncated or damaged in its second page: copy it again")
    _, last_page, _ = max(first, second, key=lambda meta: meta[2])
    needed = (last_page + 1) * page_size
    if needed > size:
        raise DataError(f"{path} is truncated: {size} bytes of {needed}; copy it again")


def _read_meta(page: bytes) -> tuple[int, int, int] | None:
    """(page size, last page, transaction) of a meta page, or None where it is none.

    Offsets are those of MDB_meta in LMDB's mdb.c on a 64-bit machine; the page size is ``md_pad`` of its
    first MDB_db.
    """
    if len(page) < _META_BYTES:
        return None
    magic, version = struct.unpack_from("<II", page, 16)
    if magic != _MAGIC or version != 1:
        return None
    (page_size,) = struct.unpack_from("<I", page, 40)
    last_page, transaction = struct.unpack_from("<QQ", page, 136)
    return page_size, last_page, transaction
