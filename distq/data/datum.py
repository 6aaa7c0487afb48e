"""Caffe's Datum, the record of its LMDBs, in protobuf wire format (REFERENCE.md 6).

Fields: channels 1, height 2, width 3, data 4, label 5, float_data 6, encoded 7. An AnnotatedDatum of the SSD
fork holds a Datum in its field 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distq.data.wire import BYTES, FIXED32, as_floats, as_int32, read_field, read_varint

_FLOAT_TAG = 6 << 3 | FIXED32
_INT32 = {1: "channels", 2: "height", 3: "width", 5: "label"}


@dataclass(frozen=True)
class Datum:
    """One record.

    ``data`` is planar CHW uint8 in BGR order, or a whole image file where ``encoded``; ``float_data`` is CHW
    float32. Absent integers are 0, an absent label None.
    """

    channels: int = 0
    height: int = 0
    width: int = 0
    data: bytes = b""
    label: int | None = None
    float_data: tuple[float, ...] | NDArray[np.float32] = ()
    encoded: bool = False

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        return self.channels, self.height, self.width


def encode_datum(datum: Datum) -> bytes:
    """Serialise a record, fields in ascending order, absent ones left out.

    A record of pixels says that it is not encoded, as Caffe's does (BVLC Caffe, io.cpp, CVMatToDatum).
    """
    parts = []
    for number, value in ((1, datum.channels), (2, datum.height), (3, datum.width)):
        if value:
            parts.append(_encode_varint(number << 3) + _encode_varint(value))
    if datum.data:
        parts.append(_encode_varint(4 << 3 | BYTES) + _encode_varint(len(datum.data)) + datum.data)
    if datum.label is not None:
        parts.append(_encode_varint(5 << 3) + _encode_varint(datum.label))
    if len(datum.float_data):
        records = np.empty((len(datum.float_data), 5), np.uint8)
        records[:, 0] = _FLOAT_TAG
        records[:, 1:] = np.asarray(datum.float_data, "<f4").view(np.uint8).reshape(-1, 4)
        parts.append(records.tobytes())
    if datum.data:
        parts.append(bytes((7 << 3, datum.encoded)))
    return b"".join(parts)


def decode_datum(data: bytes) -> Datum:
    """Parse a Datum or an AnnotatedDatum; unknown fields are skipped, the last of a repeated one counts.

    Raises:
        ValueError: it is no such record, or its data does not have the size it states.
    """
    if is_annotated(data):
        _, length, start = _decode_key_and_length(data)
        if start + length > len(data):
            raise ValueError("ends early")
        data = data[start : start + length]
    fields: dict[str, Any] = {}
    floats: list[NDArray[np.float32]] = []
    position = 0
    while position < len(data):
        if data[position] == _FLOAT_TAG:
            values, position = _decode_floats(data, position)
            floats.append(values)
            continue
        number, wire, value, position = read_field(data, position)
        if isinstance(value, int):
            if number in _INT32:
                fields[_INT32[number]] = as_int32(value)
            elif number == 7:
                fields["encoded"] = bool(value)
        elif number == 4 and wire == BYTES:
            fields["data"] = value
        elif number == 6 and wire == BYTES:  # packed, as newer writers do
            floats.append(as_floats(value))
    datum = Datum(**fields, float_data=np.concatenate(floats) if floats else ())
    _check(datum)
    return datum


def is_annotated(data: bytes) -> bool:
    """Whether a record is an AnnotatedDatum: its field 1 is a message, that of a Datum a number."""
    return data[:1] == bytes((1 << 3 | BYTES,))


def _check(datum: Datum) -> None:
    if datum.encoded:
        if not datum.data:
            raise ValueError("is encoded, but holds no image")
        return
    if min(datum.shape) < 1:
        raise ValueError("states no channels, height and width")
    size = datum.channels * datum.height * datum.width
    stored = len(datum.float_data) or len(datum.data)
    if stored != size:
        raise ValueError(f"holds {stored} values, {'x'.join(map(str, datum.shape))} is {size}")


def _decode_floats(data: bytes, position: int) -> tuple[NDArray[np.float32], int]:
    """A run of unpacked floats, each a tag byte and 4 bytes."""
    count = (len(data) - position) // 5
    records = np.frombuffer(data, np.uint8, count * 5, position).reshape(-1, 5)
    others = np.flatnonzero(records[:, 0] != _FLOAT_TAG)
    run = int(others[0]) if len(others) else count
    if run == 0:
        raise ValueError("ends early")
    values = np.ascontiguousarray(records[:run, 1:]).view("<f4").reshape(-1)
    return values, position + run * 5


def _decode_key_and_length(data: bytes) -> tuple[int, int, int]:
    key, position = read_varint(data, 0)
    length, position = read_varint(data, position)
    return key, length, position


def _encode_varint(value: int) -> bytes:
    """Base 128, low group first; a negative int32 takes ten bytes, as protobuf has it."""
    value &= 0xFFFFFFFFFFFFFFFF
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
