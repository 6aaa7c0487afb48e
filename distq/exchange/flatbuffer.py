"""The flatbuffer ONNX Runtime stores ranges in: TrtTable{dict: [KeyValue{key: string; value: string}]}.

Layout after the FlatBuffers specification ("FlatBuffer Internals"): little-endian, a table begins with the
distance back to its vtable, and what it refers to lies behind it.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping

from distq.exchange.text import Content


def write_pairs(pairs: Mapping[str, str]) -> bytes:
    """The bytes that ONNX Runtime's own writer makes of sorted pairs: the last key comes first."""
    builder = _Builder()
    tables = []
    for key, value in sorted(pairs.items()):
        texts = builder.string(key), builder.string(value)
        tables.append(builder.table(texts))
    vector = builder.vector(tables)
    return builder.finish(builder.table((vector,)))


class _Builder:
    """Writes from the end to the beginning, as offsets point forward; positions count from the end."""

    def __init__(self) -> None:
        self.data = b""
        self.alignment = 4
        self.vtables: dict[bytes, int] = {}

    def _pad(self, behind: int) -> None:
        """Zeros, so that what follows ``behind`` more bytes lies at a multiple of four."""
        self.data = b"\0" * (-(len(self.data) + behind) % 4) + self.data

    def _offset(self, target: int) -> bytes:
        """The distance from where four bytes are put now to a position."""
        return struct.pack("<I", len(self.data) + 4 - target)

    def string(self, text: str) -> int:
        data = text.encode() + b"\0"
        self._pad(len(data))
        self.data = struct.pack("<I", len(data) - 1) + data + self.data
        return len(self.data)

    def vector(self, tables: list[int]) -> int:
        """A vector in which the first table comes last."""
        for position in tables:
            self.data = self._offset(position) + self.data
        self.data = struct.pack("<I", len(tables)) + self.data
        return len(self.data)

    def table(self, fields: tuple[int, ...]) -> int:
        """A table whose fields are offsets, the first field last in memory."""
        for position in fields:
            self.data = self._offset(position) + self.data
        size = 4 * len(fields) + 4
        places = [size - 4 * (i + 1) for i in range(len(fields))]
        vtable = struct.pack(f"<{2 + len(fields)}H", 4 + 2 * len(fields), size, *places)
        start = len(self.data) + 4
        if vtable in self.vtables:
            distance = self.vtables[vtable] - start
            self.data = struct.pack("<i", distance) + self.data
            return start
        self.data = struct.pack("<i", len(vtable)) + self.data
        self.data = vtable + self.data
        self.vtables[vtable] = len(self.data)
        return start

    def finish(self, root: int) -> bytes:
        self._pad(4)
        return self._offset(root) + self.data


def is_flatbuffer(content: Content) -> bool:
    """Whether the bytes can be such a table: the root and its vtable lie inside."""
    data = content.data
    if len(data) < 20 or content.text is not None:
        return False
    root = int.from_bytes(data[:4], "little")
    if root % 4 or not 4 <= root <= len(data) - 8:
        return False
    back = int.from_bytes(data[root : root + 4], "little", signed=True)
    vtable = root - back
    return 4 <= vtable <= len(data) - 4 and data[vtable : vtable + 4] == struct.pack("<HH", 6, 8)


def read_pairs(content: Content) -> list[tuple[str, str]]:
    """Keys and values in the file's order.

    Raises:
        FileFormatError: an offset leads out of the file, or a text is none.
    """
    reader = _Reader(content)
    vector = reader.field(reader.offset(0), 0)
    count = reader.unsigned(vector)
    if count > len(content.data) // 4:
        content.fail("is cut off, or no table of ONNX Runtime")
    tables = [reader.offset(vector + 4 + 4 * i) for i in range(count)]
    return [(reader.text(reader.field(t, 0)), reader.text(reader.field(t, 1))) for t in tables]


class _Reader:
    def __init__(self, content: Content) -> None:
        self.content = content

    def unsigned(self, place: int, size: int = 4) -> int:
        if not 0 <= place <= len(self.content.data) - size:
            self.content.fail("is cut off, or no table of ONNX Runtime")
        return int.from_bytes(self.content.data[place : place + size], "little")

    def offset(self, place: int) -> int:
        return place + self.unsigned(place)

    def field(self, table: int, number: int) -> int:
        """Where what a field of a table refers to begins."""
        back = self.unsigned(table)
        vtable = table - (back - (1 << 32) if back >> 31 else back)
        if self.unsigned(vtable, 2) < 6 + 2 * number:
            self.content.fail("lacks a key or a value")
        place = self.unsigned(vtable + 4 + 2 * number, 2)
        if place == 0:
            self.content.fail("lacks a key or a value")
        return self.offset(table + place)

    def text(self, place: int) -> str:
        size = self.unsigned(place)
        self.unsigned(place + 4, size)
        try:
            return self.content.data[place + 4 : place + 4 + size].decode()
        except UnicodeDecodeError:
            self.content.fail("has a text that is not UTF-8")
