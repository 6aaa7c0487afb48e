"""Whether the pages of an LMDB hold together, looked at before the library follows them.

The library trusts what it maps: a node that points out of its page, or a value longer than its pages, kills
the process. Offsets are those of MDB_page, MDB_node and MDB_db in LMDB's mdb.c on a 64-bit machine.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_HEADER = 16  # number u64, pad u16, flags u16, lower u16, upper u16 (overflow: pages u32)
_NODE = 8  # low u16, high u16, flags u16, size of the key u16; then key and data
_BRANCH, _LEAF, _OVERFLOW = 1, 2, 4
_BIG = 1  # of a node: its data is the number of an overflow page
_DEEPEST = 32  # the library's own stack
_FIRST_PAGE = 2  # behind the two meta pages

Bytes = NDArray[np.uint8]
Numbers = NDArray[np.int64]


class PageError(ValueError):
    """Pages that do not hold together; the message says what, for the middle of a sentence."""


def check_tree(data: Bytes, page_size: int, last_page: int, *, root: int, depth: int, flags: int) -> None:
    """Walk the tree of an LMDB.

    All pages of a level are looked at together: a million records take about a second. Of the values only
    the header of their first page is read.

    Args:
        data: the whole file, mapped; it has ``last_page + 1`` pages at least.
        page_size: bytes of a page.
        last_page: the last that is in use.
        root: page the tree starts at.
        depth: its levels.
        flags: of the database; a plain one has none.

    Raises:
        PageError: a node or value is not where it can be.
    """
    if flags:
        raise PageError("it is no plain database")
    if not 0 < depth <= _DEEPEST or not _FIRST_PAGE <= root <= last_page:
        raise PageError(f"its root is page {root}, with {depth} levels")
    pages = np.array([root], np.int64)
    seen = np.zeros(last_page + 1, np.bool_)
    for level in range(depth):
        _refuse((pages < _FIRST_PAGE) | (pages > last_page), "a page lies outside")
        before = np.count_nonzero(seen)
        seen[pages] = True
        if np.count_nonzero(seen) != before + len(pages):
            raise PageError("a page is used twice")
        starts = pages * page_size
        _refuse(_number(data, starts, 8) != pages, "a page has another's number")
        if level < depth - 1:
            pages = _children(data, starts, page_size)
        else:
            _check_records(data, starts, page_size, last_page)


def _nodes(data: Bytes, starts: Numbers, page_size: int, kind: int, fewest: int) -> tuple[Numbers, Numbers]:
    """Where the nodes of pages are in the file, and how much of its page lies behind each one's header."""
    lower = _number(data, starts + 12, 2)
    counts = (lower - _HEADER) // 2
    _refuse(_number(data, starts + 10, 2) != kind, "a page is of another kind")
    _refuse((counts < fewest) | (lower > page_size), "a page counts its nodes wrong")
    owner = np.repeat(starts, counts)
    index = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    offset = _number(data, owner + _HEADER + 2 * index, 2)
    _refuse(
        (offset < np.repeat(lower, counts)) | (offset > page_size - _NODE), "a node lies outside its page"
    )
    return owner + offset, page_size - offset - _NODE


def _children(data: Bytes, starts: Numbers, page_size: int) -> Numbers:
    """The pages that branches point to."""
    node, room = _nodes(data, starts, page_size, _BRANCH, fewest=2)
    _refuse(_number(data, node + 6, 2) > room, "a key is longer than its page")
    return _number(data, node, 2) | _number(data, node + 2, 2) << 16 | _number(data, node + 4, 2) << 32


def _check_records(data: Bytes, starts: Numbers, page_size: int, last_page: int) -> None:
    """Keys and values lie in their pages."""
    node, room = _nodes(data, starts, page_size, _LEAF, fewest=1)
    size = _number(data, node, 2) | _number(data, node + 2, 2) << 16
    flags, key = _number(data, node + 4, 2), _number(data, node + 6, 2)
    _refuse((flags & ~_BIG) != 0, "it holds other databases or several values of a key")
    big = flags == _BIG
    _refuse((key == 0) | (room - key < np.where(big, 8, size)), "a record is longer than its page")
    first = _number(data, (node + _NODE + key)[big], 8)
    _refuse((first < _FIRST_PAGE) | (first > last_page), "a value lies outside")
    place = first * page_size
    _refuse(_number(data, place, 8) != first, "a page has another's number")
    _refuse(_number(data, place + 10, 2) != _OVERFLOW, "a page is of another kind")
    used = _number(data, place + 12, 4)
    short = (first + used - 1 > last_page) | (used * page_size < _HEADER + size[big])
    _refuse(short, "a value is longer than its pages")


def _refuse(wrong: NDArray[np.bool_], reason: str) -> None:
    if wrong.any():
        raise PageError(reason)


def _number(data: Bytes, places: Numbers, width: int) -> Numbers:
    """Little-endian numbers of ``width`` bytes; one of 8 bytes that is over 2^63 comes out negative."""
    value = np.zeros(len(places), np.int64)
    for byte in range(width):
        value |= data[places + byte].astype(np.int64) << 8 * byte
    return value
