"""What a run has finished: one checksummed line per unit or note, so that it can be interrupted and go on.

A line is ``{"crc32":"1a2b3c4d","record":{...}}`` and a newline; the CRC is of the record's bytes as they
stand. The first record is ``{"type":"header","format":"distq journal","version":1}``. Then come ``unit``
records with ``key``, ``label`` and either ``arrays`` (base64 of an npz) or ``part`` (SHA-256 of
``parts/<key>.npz``), ``note`` records with ``kind`` and ``fields``, and a ``status`` record with ``fields``:
how far the run is, for who watches it alone. That one is written over again and again, in the place of its
line, which blanks behind the record make long enough.
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import re
import shutil
import threading
import time
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from distq.engine.closing import Closing
from distq.engine.journal_read import decode_line
from distq.engine.packing import pack_arrays, unpack_arrays
from distq.errors import ExecutionError, FileFormatError, UsageError
from distq.files import atomic_write, cannot_write, is_full, sha256_bytes, sha256_file
from distq.replica.worker import Arrays

_VERSION = 1
_FORMAT = "distq journal"
_INLINE_BYTES = 64 * 1024
_SYNC_SECONDS = 1.0
_LINE = b'{"crc32":"%08x","record":%b}\n'
_KEY = re.compile(r"[0-9A-Za-z_-]{1,128}")


class Journal(Closing):
    """The journal of one run folder; one process at a time has it open.

    Every record is written at once, so a killed process loses none. The disk is made to keep them (fsync) at
    close, and with the first record a second after the last time: a power cut costs what was recorded since,
    which is simply found again, and 60,000 records do not wait 60,000 times for the disk.
    """

    def __init__(self, path: Path) -> None:
        """Open or create a journal, pass over damaged lines, and cut it behind its last good one.

        Raises:
            UsageError: another process has it open.
            FileFormatError: it is not a journal, or one of another version of distq.
            ExecutionError: the disk does not take it.
        """
        self._path = path
        self._parts = path.parent / "parts"
        self._units: dict[
            str, tuple[int, int, str | None]
        ] = {}  # offset and length of the line, SHA of the part
        self._notes: list[tuple[str, dict[str, Any]]] = []
        self._end = 0
        self._status: tuple[int, int] | None = None  # offset and length of the line that this process wrote
        self._writing = threading.Lock()
        self._synced = time.monotonic()
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            if is_full(error):
                raise cannot_write(path, error) from error
            raise UsageError(f"{path}: {error.strerror}; choose another --out") from error
        try:
            self._lock()
            self._read()
        except BaseException:
            os.close(self._file)
            raise

    def __contains__(self, key: str) -> bool:
        """Whether the result of a unit is known and undamaged."""
        if key not in self._units:
            return False
        part = self._units[key][2]
        return part is None or _sha256_or_none(self._part(key)) == part

    def get(self, key: str) -> Arrays | None:
        """The result of a unit, read from disk, or None where it is not known."""
        if key not in self._units:
            return None
        offset, length, part = self._units[key]
        if part is None:
            record = decode_line(os.pread(self._file, length, offset))
            return None if record is None else unpack_arrays(base64.b64decode(record["arrays"]))
        try:
            data = self._part(key).read_bytes()
        except OSError:
            return None
        return unpack_arrays(data) if sha256_bytes(data) == part else None

    def record_unit(self, key: str, label: str, arrays: Arrays) -> None:
        """Write down the result of a unit; of two with one key the last counts.

        Args:
            key: of letters, digits, ``_`` and ``-``, at most 128 (a SHA-256 in hex); it names a file.
            label: what the unit is, for a person.
            arrays: no Python objects in them.

        Raises:
            ExecutionError: the disk does not take it; the journal stays readable.
        """
        if not _KEY.fullmatch(key):
            raise ValueError(f"a unit's key cannot be {key!r}")
        packed = pack_arrays(arrays)
        record = {"type": "unit", "key": key, "label": label}
        part = None
        if len(packed) < _INLINE_BYTES:
            record["arrays"] = base64.b64encode(packed).decode("ascii")
        else:
            part = record["part"] = sha256_bytes(packed)
            self._write_part(key, packed)
        offset, length = self._append(record)
        self._units[key] = (offset, length, part)

    def note(self, kind: str, **fields: Any) -> None:  # noqa: ANN401  # what JSON can hold
        """Write down something decided, such as a layer's threshold or the end of a stage.

        Args:
            kind: by which :meth:`notes` finds it.
            fields: numbers, strings, booleans, None, lists and dicts of them; floats come back exactly.

        Raises:
            ExecutionError: the disk does not take it; the journal stays readable.
        """
        self._append({"type": "note", "kind": kind, "fields": fields})
        self._notes.append((kind, fields))

    def status(self, **fields: Any) -> None:  # noqa: ANN401  # what JSON can hold
        """Write down how far the run is, for who watches it, over what this process wrote of it before.

        It may be called from another thread than the one that the journal belongs to.

        Raises:
            ExecutionError: the disk does not take it; the journal stays readable.
        """
        record = {"type": "status", "fields": fields}
        line = _encode(record)
        with self._writing:  # without waiting for the disk: what a power cut takes of this, nobody misses
            if self._status is None or len(line) > self._status[1]:
                line = _encode(record, 2 * len(line))
                self._status = self._end, len(line)
                self._write(line)
            else:
                self._overwrite(_encode(record, self._status[1]), self._status[0])

    def notes(self, kind: str) -> list[dict[str, Any]]:
        """The fields of all notes of one kind, in the order written."""
        return [dict(fields) for known, fields in self._notes if known == kind]

    def forget(self, keys: Iterable[str]) -> None:
        """Delete large results that others have been made of; their units are then not known."""
        self._sync()  # what they became is on the disk before they go
        for key in keys:
            if key in self._units and self._units[key][2] is not None:
                self._part(key).unlink(missing_ok=True)
                del self._units[key]

    def remove_parts(self) -> None:
        """Delete the large results, which a finished run needs no more; their units are then not known."""
        shutil.rmtree(self._parts, ignore_errors=True)
        self._units = {key: unit for key, unit in self._units.items() if unit[2] is None}

    def close(self) -> None:
        """Have everything on disk and let others open the journal."""
        if self._file >= 0:
            try:
                self._sync()
            finally:
                os.close(self._file)
                self._file = -1

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UsageError(
                f"{self._path.parent} is in use by another distq; wait until it ends, or choose another --out"
            ) from error

    def _read(self) -> None:
        header = _encode({"type": "header", "format": _FORMAT, "version": _VERSION})
        with os.fdopen(os.dup(self._file), "rb") as stream:
            first = stream.readline()
            if header.startswith(first) and first != header:  # new, or cut inside its first line
                self._truncate(0)
                self._write(header)
                return
            self._check_header(first)
            self._end = last_good = len(first)
            for line in stream:
                record = decode_line(line)
                good = record is not None and self._take(record, len(line))
                self._end += len(line)
                if good:
                    last_good = self._end
        self._end = last_good
        self._truncate(last_good)

    def _check_header(self, line: bytes) -> None:
        record = decode_line(line)
        if record is None or record.get("type") != "header" or record.get("format") != _FORMAT:
            raise FileFormatError(f"{self._path} is not a distq journal; choose another --out")
        if record.get("version") != _VERSION:
            raise FileFormatError(
                f"{self._path} has journal version {record.get('version')}, this distq reads {_VERSION}: "
                "resume with the distq that wrote it, or choose another --out"
            )

    def _take(self, record: dict[str, Any], length: int) -> bool:
        match record:
            case {"type": "unit", "key": str(key), "arrays": str()} if _KEY.fullmatch(key):
                self._units[key] = (self._end, length, None)
            case {"type": "unit", "key": str(key), "part": str(part)} if _KEY.fullmatch(key):
                self._units[key] = (self._end, length, part)
            case {"type": "note", "kind": str(kind), "fields": dict(fields)}:
                self._notes.append((kind, fields))
            case {"type": "status", "fields": dict()}:
                pass
            case _:
                return False
        return True

    def _append(self, record: dict[str, Any]) -> tuple[int, int]:
        line = _encode(record)
        with self._writing:
            offset = self._end
            self._write(line)
            if time.monotonic() - self._synced > _SYNC_SECONDS:
                self._sync()
        return offset, len(line)

    def _write(self, line: bytes) -> None:
        try:
            self._overwrite(line, self._end)
        except ExecutionError:
            self._truncate(self._end)
            raise
        self._end += len(line)

    def _overwrite(self, line: bytes, offset: int) -> None:
        try:
            written = 0
            while written < len(line):
                written += os.pwrite(self._file, line[written:], offset + written)
        except OSError as error:
            raise cannot_write(self._path, error) from error

    def _write_part(self, key: str, packed: bytes) -> None:
        try:
            self._parts.mkdir(exist_ok=True)
        except OSError as error:
            raise cannot_write(self._parts, error) from error
        atomic_write(self._part(key), packed)

    def _truncate(self, size: int) -> None:
        os.ftruncate(self._file, size)

    def _sync(self) -> None:
        try:
            os.fsync(self._file)
        except OSError as error:  # some file systems find out only now that they are full
            raise cannot_write(self._path, error) from error
        self._synced = time.monotonic()

    def _part(self, key: str) -> Path:
        return self._parts / f"{key}.npz"


def _encode(record: dict[str, Any], length: int = 0) -> bytes:
    """The line of a record, with blanks where it is to be longer."""
    body = json.dumps(record, ensure_ascii=True, separators=(",", ":")).encode("ascii")
    body = body.ljust(length - len(_LINE % (0, b"")))
    return _LINE % (zlib.crc32(body), body)


def _sha256_or_none(path: Path) -> str | None:
    try:
        return sha256_file(path)
    except OSError:
        return None
