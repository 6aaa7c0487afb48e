"""TensorRT's calibration cache, as versions 7 to 10 read it; 11 has no implicit quantization any more."""

from __future__ import annotations

import re
import struct

from distq.exchange.formats import Format, Request
from distq.exchange.table import Convention, Entry, ExchangeTable, of_threshold
from distq.exchange.text import Content, quoted, without

HEADER = "TRT-8502-EntropyCalibration2"
_FIRST = re.compile(r"TRT-\d+-(EntropyCalibration2?|MinMaxCalibration|LegacyCalibration)")


def _recognise(content: Content) -> bool:
    return content.data.removeprefix(b"\xef\xbb\xbf").startswith(b"TRT-")


def _read(content: Content, convention: Convention) -> ExchangeTable:
    """Lines ``tensor: hhhhhhhh``: a scale, amax/127, as float32 with the first byte first."""
    del convention
    entries: dict[str, Entry] = {}
    header = ""
    zero: list[str] = []
    for number, line in content.lines():
        if number == 1:
            header = line.strip()
            if _FIRST.fullmatch(header) is None:
                content.fail(f"{quoted(header)} is no header of a TensorRT calibration cache", 1)
            continue
        if not line.strip():
            continue
        name, colon, digits = line.rstrip().rpartition(": ")
        if not colon or not name:
            content.fail("is no 'tensor: hhhhhhhh'", number)
        if re.fullmatch(r"[0-9a-fA-F]{8}", digits) is None:
            content.fail(
                f"the scale of {quoted(name)} is {quoted(digits)}; it is 8 hex digits, leading zeros kept",
                number,
            )
        (scale,) = struct.unpack(">f", bytes.fromhex(digits))
        if scale == 0:
            zero.append(name)
            continue
        if not 1e-30 < scale < 1e30:
            hint = "; its bytes may be in reverse order" if _plausible_reversed(digits) else ""
            content.fail(f"the scale of {quoted(name)} is {scale:g}{hint}", number)
        entry = of_threshold(scale * 127)
        if content.once(entries, name, entry, number):
            entries[name] = entry
    return ExchangeTable(entries, warnings=without(zero), details=header)


def _plausible_reversed(digits: str) -> bool:
    (scale,) = struct.unpack("<f", bytes.fromhex(digits))
    return 1e-12 < float(scale) < 1e12


def _write(request: Request) -> bytes:
    table = request.table
    header = table.details if isinstance(table.details, str) else ""
    entries = dict(table.entries)
    if not header:
        if request.network is not None:
            entries = request.network.entries(entries)
        request.warn_of_zero_points()
        request.warn_of_bits()
        request.warn_of_weights()
        request.warn(f"TensorRT 7 to 10 alone, and line 1 has to name its version: {HEADER} is of 8.5.2")
    lines = [header or HEADER]
    for name, entry in entries.items():
        scale = struct.pack(">f", entry.threshold / 127)
        lines.append(f"{name}: {scale.hex()}")
    return ("\n".join(lines) + "\n").encode()


TENSORRT = Format("tensorrt", "TensorRT's calibration cache", _recognise, _read, _write)
