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

    def news(self) -> list[dict[str, Any]]:
        """The undamaged records behind those of the last look; a line that is half written comes next time.

        Raises:
            FileFormatError: the journal cannot be read.
        """
        found = []
        try:
            with open_regular(self._path) as stream:
                if stream.seek(0, 2) < self._read:  # a run that goes on cuts off a torn line
                    self._read = 0
                stream.seek(self._read)
                for line in stream:
                    if not line.endswith(b"\n"):
                        break
                    self._read += len(line)
                    record = None if _UNIT in line[:64] else decode_line(line)
                    if record is not None:
                        found.append(record)
        except OSError as error:
            raise FileFormatError(f"cannot read the journal {self._path}: {error.strerror}") from error
        return found


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
