"""Protobuf's wire format, field by field: small messages of Caffe that need no schema."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5

Value = int | bytes
"""A varint, or the bytes of any other field."""


def read_fields(data: bytes) -> Iterator[tuple[int, int, Value]]:
    """(number, wire type, value) of each field, in the order they are stored.

    Raises:
        ValueError: it is no protobuf message; the text fits behind the name of what was read.
    """
    position = 0
    while position < len(data):
        number, wire, value, position = read_field(data, position)
        yield number, wire, value


def read_field(data: bytes, position: int) -> tuple[int, int, Value, int]:
    """One field's number, wire type and value, and where the next begins.

    Raises:
        ValueError: as :func:`read_fields`.
    """
    key, position = read_varint(data, position)
    number, wire = key >> 3, key & 7
    if wire == VARINT:
        value, position = read_varint(data, position)
        return number, wire, value, position
    if wire == BYTES:
        length, position = read_varint(data, position)
    elif wire in {FIXED32, FIXED64}:
        length = 4 if wire == FIXED32 else 8
    else:
        raise ValueError("is no protobuf message")
    if position + length > len(data):
        raise ValueError("ends early")
    return number, wire, data[position : position + length], position + length


def read_varint(data: bytes, position: int) -> tuple[int, int]:
    """A number in base 128, low group first, and where the next field begins.

    Raises:
        ValueError: it does not end.
    """
    value = 0
    for shift in range(0, 70, 7):
        if position >= len(data):
            raise ValueError("ends early")
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise ValueError("is no protobuf message")


def as_int32(value: int) -> int:
    """A varint as protobuf's int32, whose negative numbers are stored with 64 bits."""
    return (value & 0xFFFFFFFF ^ 0x80000000) - 0x80000000


def as_floats(value: bytes) -> NDArray[np.float32]:
    """One float, or packed ones.

    Raises:
        ValueError: the length is not that of floats.
    """
    if len(value) % 4:
        raise ValueError("has floats that end early")
    return np.frombuffer(value, "<f4")
