"""Size of an image from its header, so that an image bomb is refused before it is decoded."""

from __future__ import annotations

import re
import struct

_JPEG_SCAN_END = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
_PNM_SIZE = re.compile(rb"P[1-6](?:\s|#[^\n]*\n)+(\d{1,9})(?:\s|#[^\n]*\n)+(\d{1,9})\s")
_START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


def image_size(data: bytes) -> tuple[int, int]:
    """Read (height, width) of a JPEG, PNG, BMP, GIF, WebP, TIFF or PNM image, as stored (before EXIF).

    A JPEG must reach its end marker and a PNG its IEND chunk: some decoders fill a truncated picture with
    gray and say nothing.

    Raises:
        ValueError: saying what is wrong: ``is truncated``, ``is of no known image format``.
    """
    for magic, read in _READERS:
        if data.startswith(magic):
            try:
                height, width = read(data)
            except (struct.error, IndexError):
                raise ValueError("is truncated") from None
            if height < 1 or width < 1:
                raise ValueError("has no pixels")
            return height, width
    raise ValueError("is empty" if not data else "is of no known image format")


def _jpeg_size(data: bytes) -> tuple[int, int]:
    """Walk the segments to the end marker (ITU T.81 annex B)."""
    position, size = 2, (0, 0)
    while True:
        if data[position] != 0xFF:
            raise ValueError("is a damaged JPEG")
        code = data[position + 1]
        if code == 0xFF:  # fill byte
            position += 1
            continue
        if code == 0xD9:
            return size
        if code == 0x01 or 0xD0 <= code <= 0xD7:  # markers without a length
            position += 2
            continue
        (length,) = struct.unpack_from(">H", data, position + 2)
        if code in _START_OF_FRAME:
            size = struct.unpack_from(">HH", data, position + 5)
        position += 2 + length
        if code == 0xDA:
            end = _JPEG_SCAN_END.search(data, position)
            if end is None:
                raise ValueError("is truncated")
            position = end.start()


def _png_size(data: bytes) -> tuple[int, int]:
    width, height = struct.unpack_from(">II", data, 16)
    position = 8
    while data[position + 4 : position + 8] != b"IEND":
        (length,) = struct.unpack_from(">I", data, position)
        position += 12 + length
    return height, width


def _bmp_size(data: bytes) -> tuple[int, int]:
    (header,) = struct.unpack_from("<I", data, 14)
    width, height = struct.unpack_from("<HH" if header == 12 else "<ii", data, 18)
    return abs(height), width  # a negative height means rows from the top


def _gif_size(data: bytes) -> tuple[int, int]:
    width, height = struct.unpack_from("<HH", data, 6)
    return height, width


def _webp_size(data: bytes) -> tuple[int, int]:
    """Each of the three bitstreams stores the size its own way (RFC 9649)."""
    form = data[12:16]
    if form == b"VP8X":
        return 1 + int.from_bytes(data[27:30], "little"), 1 + int.from_bytes(data[24:27], "little")
    if form == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        return 1 + (bits >> 14 & 0x3FFF), 1 + (bits & 0x3FFF)
    if form == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return height & 0x3FFF, width & 0x3FFF
    raise ValueError("is of no known image format")


def _tiff_size(data: bytes) -> tuple[int, int]:
    """Tags 256 and 257 of the first directory (TIFF 6.0)."""
    order = "<" if data.startswith(b"II") else ">"
    (directory,) = struct.unpack_from(order + "I", data, 4)
    (count,) = struct.unpack_from(order + "H", data, directory)
    sizes = {256: 0, 257: 0}
    for entry in range(directory + 2, directory + 2 + 12 * count, 12):
        tag, kind = struct.unpack_from(order + "HH", data, entry)
        if tag in sizes:
            (sizes[tag],) = struct.unpack_from(order + ("H" if kind == 3 else "I"), data, entry + 8)
    return sizes[257], sizes[256]


def _pnm_size(data: bytes) -> tuple[int, int]:
    match = _PNM_SIZE.match(data)
    if match is None:
        raise ValueError("is of no known image format")
    return int(match[2]), int(match[1])


_READERS = (
    (b"\xff\xd8", _jpeg_size),
    (b"\x89PNG\r\n\x1a\n", _png_size),
    (b"BM", _bmp_size),
    (b"GIF8", _gif_size),
    (b"RIFF", _webp_size),
    (b"II*\x00", _tiff_size),
    (b"MM\x00*", _tiff_size),
    (b"P", _pnm_size),
)
