"""Read a journal that another process may be writing: nothing is locked, and nothing changed."""

from __future__ import annotations

import base64
import json
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from distq.engine.packing import unpack_arrays
from distq.errors import FileFormatError
from distq.files import BROKEN_ARCHIVE
from distq.regular import open_regular
from distq.replica.worker import Arrays

_LINE = re.compile(rb'\{"crc32":"([0-9a-f]{8})","record":(.*)\}\n', re.DOTALL)
_UNIT = b'"record":{"type":"unit",'
"""Stands near the beginning of a unit's line, the long ones."""
_STATUS = b'"record":{"type":"status",'


def read_records(path: Path) -> Iterator[dict[str, Any]]:
    """The undamaged records of a journal in the order written; the file is left alone, also in use.

    Raises:
        FileFormatError: it cannot be read.
    """
    try:
        with open_regular(path) as stream:
            yield from (record for line in stream if (record := decode_line(line)) is not None)
    except OSError as error:
        raise FileFormatError(f"cannot read the journal {path}: {error.strerror}") from error


def unit_arrays(record: dict[str, Any]) -> Arrays | None:
    """The result of a unit in its record; None where it is too large to stand there, or cannot be read."""
    arrays = record.get("arrays")
    if not isinstance(arrays, str):
        return None
    try:
        return unpack_arrays(base64.b64decode(arrays))
    except BROKEN_ARCHIVE:
        return None


class JournalTail:
    """What is new in a journal since the last look; results of units are passed over."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read = 0
        self._status: tuple[int, bytes] | None = None  # offset of its last line, and what stood there

    def news(self) -> list[dict[str, Any]]:
        """The undamaged records behind those of the last look; a line that is half written comes next time.

        The last status comes again, before them, where it was written over.

        Raises:
            FileFormatError: the journal cannot be read.
        """
        found = []
        try:
            with open_regular(self._path) as stream:
                if stream.seek(0, 2) < self._read:  # a run that goes on cuts off a torn line
                    self._read, self._status = 0, None
                if self._status is not None:
                    stream.seek(self._status[0])
                    found.append(self._decoded(self._status[0], stream.readline()))
                stream.seek(self._read)
                for line in stream:
                    if not line.endswith(b"\n"):
                        break
                    found.append(self._decoded(self._read, line))
                    self._read += len(line)
        except OSError as error:
            raise FileFormatError(f"cannot read the journal {self._path}: {error.strerror}") from error
        return [record for record in found if record is not None]

    def _decoded(self, offset: int, line: bytes) -> dict[str, Any] | None:
        """The record of a line; None where it is damaged, a unit's, or a status that is known."""
        if _STATUS in line[:64]:
            known = self._status == (offset, line)
            self._status = offset, line
            return None if known else decode_line(line)
        return None if _UNIT in line[:64] else decode_line(line)


def decode_line(line: bytes) -> dict[str, Any] | None:
    """The record of a line, None where the line is torn or damaged."""
    match = _LINE.fullmatch(line)
    if match is None or int(match[1], 16) != zlib.crc32(match[2]):
        return None
    try:
        record = json.loads(match[2])
    except ValueError:
        return None
    return record if isinstance(record, dict) else None
