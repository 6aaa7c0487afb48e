"""A Caffe LMDB: Datum records in the order of their keys (REFERENCE.md 6)."""

from __future__ import annotations

import os
import re
import threading
import weakref
from pathlib import Path, PurePosixPath

import lmdb
import numpy as np

from distq.data.boxes import Box, decode_boxes
from distq.data.datum import Datum, decode_datum, is_annotated
from distq.data.lmdb_check import check_lmdb
from distq.data.packed import PackedBytes
from distq.data.samples import ImageBytes, Item, Pixels, UnreadableSample, Values
from distq.errors import DataError

_LINE_NUMBER = re.compile(r"^\d{8}_")


class LmdbSource:
    """Records of an LMDB folder, opened read-only and without a lock; values are read one by one."""

    kind = "lmdb"
    holds_all_inputs = False

    def __init__(self, folder: Path) -> None:
        """Check the file, list the keys and look at the first record.

        Args:
            folder: Holds ``data.mdb``.

        Raises:
            DataError: truncated, foreign, or not of Datum records.
        """
        self._folder = folder
        check_lmdb(folder)
        try:
            self._environment = _open(folder)
            with self._environment.begin() as transaction, transaction.cursor() as cursor:
                self._keys = PackedBytes(cursor.iternext(keys=True, values=False))
        except lmdb.Error as error:
            raise DataError(f"LMDB {folder} cannot be read: {error}") from None
        if len(self._keys):
            try:
                decode_datum(self._value(0))
            except ValueError as error:
                raise DataError(
                    f"LMDB {folder} holds no Caffe records, the first {error}: use 'distq dataset build'"
                ) from None

    def __len__(self) -> int:
        return len(self._keys)

    def name(self, index: int) -> str:  # noqa: D102  # as in Source
        return self._keys[index].decode("utf-8", "surrogateescape")

    def aliases(self, index: int) -> tuple[str, ...]:  # noqa: D102  # as in Source
        key = self.name(index)
        path = _LINE_NUMBER.sub("", key)
        return key, path, PurePosixPath(path).name

    def label(self, index: int) -> int | None:
        """The stored class; None where there is none, which an annotated record says as -1."""
        label = self._datum(index).label
        return None if label == -1 and is_annotated(self._value(index)) else label

    def boxes(self, index: int) -> tuple[Box, ...]:
        """The objects of an annotated record, as stored; none of a plain one.

        Raises:
            UnreadableSample: the record is damaged.
        """
        try:
            return decode_boxes(self._value(index))
        except ValueError as error:
            raise self._damaged(index, error) from None

    def read(self, index: int) -> tuple[Item, ...]:  # noqa: D102  # as in Source
        return (_item(self._datum(index)),)

    def stored(self, index: int) -> tuple[bytes, ...]:  # noqa: D102  # as in Source
        return (self._value(index),)

    def names_sha256(self) -> str:  # noqa: D102  # as in Source
        return self._keys.sha256()

    def _datum(self, index: int) -> Datum:
        try:
            return decode_datum(self._value(index))
        except ValueError as error:
            raise self._damaged(index, error) from None

    def _damaged(self, index: int, error: ValueError) -> UnreadableSample:
        return UnreadableSample(f"record {self.name(index)} of {self._folder} {error}: build the LMDB again")

    def _value(self, index: int) -> bytes:
        try:
            with self._environment.begin() as transaction:
                value = transaction.get(self._keys[index])
        except lmdb.Error as error:
            raise DataError(f"LMDB {self._folder} cannot be read: {error}") from None
        return bytes(value or b"")


def _item(datum: Datum) -> Item:
    if datum.encoded:
        return ImageBytes(datum.data)
    if len(datum.float_data):
        return Values(np.asarray(datum.float_data, np.float32).reshape(datum.shape))
    planar = np.frombuffer(datum.data, np.uint8).reshape(datum.shape)
    channels = 3 if datum.channels == 4 else datum.channels  # alpha goes, as in IMREAD_COLOR
    return Pixels(np.ascontiguousarray(planar[:channels].transpose(1, 2, 0)))


# The library refuses to open one path twice in a process, so sources of one database share an environment.
_open_environments: weakref.WeakValueDictionary[tuple[str, int, int], lmdb.Environment] = (
    weakref.WeakValueDictionary()
)
_opening = threading.Lock()


def _open(folder: Path) -> lmdb.Environment:
    path = os.path.realpath(folder)
    status = (folder / "data.mdb").stat()
    key = (path, status.st_ino, status.st_mtime_ns)  # a database built anew at this path is another one
    with _opening:
        environment = _open_environments.get(key)
        if environment is None:
            environment = lmdb.open(path, readonly=True, lock=False, readahead=False, create=False)
            _open_environments[key] = environment
        return environment
