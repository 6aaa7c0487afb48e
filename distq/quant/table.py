"""``thresholds.json``: one row a tensor."""

from __future__ import annotations

import csv
import io
import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from pydantic import ConfigDict, TypeAdapter, ValidationError

from distq.errors import FileFormatError
from distq.quant.scheme import Encoding, encoded_range
from distq.regular import read_regular

FORMAT = "distq-thresholds-1"
HEADROOM = "+headroom"
"""Ending of the method of a threshold that has headroom for channels that were evened out."""


@dataclass(frozen=True)
class Row:
    """Threshold of a tensor and the quantizer that follows from it.

    ``min`` and ``max`` are the quantizer's range in the tensor's unit; ``convention`` is the number of steps
    in it (scale = T/127 or (max - min)/255); ``tied_to`` names the tensor whose quantizer this one shares.
    ``channels`` has a scale and a zero point for each channel; the rest of the row is then of the range that
    all channels together have. It is left out of the file where there is one scale.
    """

    threshold: float
    min: float
    max: float
    observed_min: float
    observed_max: float
    bits: int
    signed: bool
    scale: float
    zero_point: int
    convention: str
    method: str
    tied_to: str | None = None
    channels: tuple[tuple[float, int], ...] | None = None

    __pydantic_config__ = ConfigDict(extra="forbid")

    @property
    def encoding(self) -> Encoding:
        """Scale and zero point as a quantizer, or those of each channel."""
        if self.channels is not None:
            scales, zero_points = zip(*self.channels, strict=True)
            return Encoding(scales, zero_points, self.bits, self.signed)
        return self.whole

    @property
    def whole(self) -> Encoding:
        """The one scale and zero point that the range of all channels comes to."""
        return Encoding(self.scale, self.zero_point, self.bits, self.signed)

    @property
    def channel_ranges(self) -> tuple[tuple[float, float], ...]:
        """The range of each channel that has a scale of its own, from which the same scale is made again."""
        symmetric = self.convention == str(2 ** (self.bits - 1) - 1)
        return tuple(encoded_range(*one, self.bits, symmetric=symmetric) for one in self.channels or ())

    @property
    def absmax(self) -> float:
        """Largest magnitude observed."""
        return max(abs(self.observed_min), abs(self.observed_max))

    @property
    def has_headroom(self) -> bool:
        """Whether the threshold has headroom for other images than it was calibrated on.

        A search on some of these would only take it away again.
        """
        return self.method.endswith(HEADROOM)


Table = dict[str, Row]

_ROW = TypeAdapter(Row)


def dump_table(table: Table) -> bytes:
    """The file's bytes: sorted by tensor, floats in their shortest exact form."""
    rows = {name: _fields(table[name]) for name in sorted(table)}
    return (json.dumps({"format": FORMAT, "tensors": rows}, indent=1) + "\n").encode()


def _fields(row: Row) -> dict[str, object]:
    fields = asdict(row)
    if row.channels is None:
        del fields["channels"]
    return fields


def table_csv(table: Table) -> bytes:
    """The table for a spreadsheet: a line a tensor, sorted, with what was observed and what came of it."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    columns = [name for name in Row.__dataclass_fields__ if name != "channels"]
    writer.writerow(["tensor", *columns])
    for tensor in sorted(table):
        writer.writerow([tensor, *(getattr(table[tensor], name) for name in columns)])
    return stream.getvalue().encode()


def read_table(path: Path) -> Table:
    """Read ``thresholds.json``.

    Raises:
        FileFormatError: missing, damaged, or not such a file; the message names the tensor that is wrong.
    """
    try:
        data = read_regular(path)
    except OSError as error:
        raise FileFormatError(
            f"cannot read the table {path}: {error.strerror}; give a thresholds.json"
        ) from error
    return parse_table(data, str(path))


def parse_table(data: bytes, path: str) -> Table:
    """What the bytes of a ``thresholds.json`` say; ``path`` is what messages call it.

    Raises:
        FileFormatError: as :func:`read_table`.
    """
    try:
        content = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise FileFormatError(
            f"{path} is not a threshold table: it is not JSON; give a thresholds.json"
        ) from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise FileFormatError(f'{path} is not a threshold table of distq: it has no "format": "{FORMAT}"')
    tensors = content.get("tensors")
    if not isinstance(tensors, dict):
        raise FileFormatError(f'{path} has no "tensors"')
    return {name: _row(path, name, fields) for name, fields in tensors.items()}


def _row(path: str, name: str, fields: object) -> Row:
    if not isinstance(fields, dict):
        raise FileFormatError(f"{path}: the row of {name} is not a mapping")
    try:
        row: Row = _ROW.validate_json(json.dumps(fields), strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise FileFormatError(f"{path}: the row of {name} has a wrong {where}: {first['msg']}") from error
    numbers = (row.threshold, row.min, row.max, row.observed_min, row.observed_max, row.scale)
    if not all(isinstance(x, int | float) and math.isfinite(x) for x in numbers):
        raise FileFormatError(f"{path}: the row of {name} has a number that is not finite")
    if row.channels == ():
        raise FileFormatError(f"{path}: {name} has channels without scales: leave channels out or give them")
    if row.threshold <= 0 or row.scale <= 0 or row.bits not in {8, 16}:
        raise FileFormatError(f"{path}: {name} needs a threshold and scale above 0 and 8 or 16 bits")
    codes = np.iinfo(row.whole.dtype)
    for scale, zero_point in row.channels or ():
        if not math.isfinite(scale) or scale <= 0 or not codes.min <= zero_point <= codes.max:
            raise FileFormatError(
                f"{path}: {name} needs a scale above 0 and a zero point of {codes.min} to {codes.max} "
                "for each channel"
            )
    return row
