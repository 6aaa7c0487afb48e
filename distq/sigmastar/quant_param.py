"""SigmaStar's ``quant_param``: a list of ``{name, min, max, bit}``, as JSON and as rows of a table."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypedDict

from distq.errors import FileFormatError, UsageError
from distq.exchange.registry import PICKLE
from distq.exchange.sigmastar import dumped
from distq.exchange.text import load_content
from distq.files import atomic_write
from distq.quant.table import Row, Table


class QuantParam(TypedDict):
    """An entry; the lists have one number, or one for each channel."""

    name: str
    min: list[float]
    max: list[float]
    bit: int


def read_quant_param(path: str | os.PathLike[str]) -> list[QuantParam]:
    """Read a JSON file; ``data`` of an entry is passed over.

    Raises:
        FileFormatError: it cannot be read, is a pickle, or has a wrong entry.
    """
    path = Path(path)
    content = load_content(path)
    if content.data[:1] == PICKLE or path.suffix.lower() in {".pkl", ".pickle"}:
        content.fail(
            "is a pickle, which could run code when it is read: save it as JSON, with save_quant_param.py "
            "--output_mode JSON"
        )
    if content.json is None:
        content.fail("is not JSON")
    return checked(content.json, str(path))


def checked(content: object, where: str) -> list[QuantParam]:
    """The entries of a list as Python has it.

    Raises:
        FileFormatError: it is no list of entries, or one is wrong.
    """
    if not isinstance(content, Sequence) or isinstance(content, str | bytes):
        raise FileFormatError(f"{where} is no list of {{name, min, max, bit}}")
    return [_entry(one, f"{where}: entry {number}") for number, one in enumerate(content)]


def _entry(one: object, where: str) -> QuantParam:
    if not isinstance(one, Mapping) or not isinstance(one.get("name"), str):
        raise FileFormatError(f"{where} has no name")
    name = one["name"]
    low, high = (
        _numbers(one.get("min"), f"{where}: min of {name}"),
        _numbers(one.get("max"), f"{where}: max of {name}"),
    )
    if len(low) != len(high) or any(a > b for a, b in zip(low, high, strict=True)):
        raise FileFormatError(f"{where}: min of {name} is not below its max everywhere")
    bit = one.get("bit", 8)
    if not isinstance(bit, int) or bit not in {4, 8, 16}:
        raise FileFormatError(f"{where}: bit of {name} is {bit!r}; it is 4, 8 or 16")
    return {"name": name, "min": low, "max": high, "bit": bit}


def _numbers(value: object, where: str) -> list[float]:
    given = list(value) if isinstance(value, list | tuple) else [value]
    numbers = [n for n in given if isinstance(n, int | float) and not isinstance(n, bool)]
    if len(numbers) < len(given):
        raise FileFormatError(f"{where} is no list of numbers")
    try:
        found = [float(number) for number in numbers]
    except OverflowError:
        found = [math.inf]
    if not found or not all(math.isfinite(number) for number in found):
        raise FileFormatError(f"{where} has no numbers, or one that is not finite")
    return found


def quant_param_of(table: Table) -> list[QuantParam]:
    """A table's quantizers as entries, by tensor."""
    return [
        {"name": name, "min": [row.min], "max": [row.max], "bit": row.bits}
        for name, row in sorted(table.items())
    ]


def save_quant_param(params: Sequence[QuantParam], path: str | os.PathLike[str]) -> None:
    """Write entries as JSON.

    Raises:
        ExecutionError: the disk does not take it.
    """
    atomic_write(Path(path), dumped(params))


@dataclass(frozen=True)
class Imported:
    """What entries come to for one model.

    Attributes:
        table: of the model, the imported ranges in place of the measured ones.
        int16: tensors with 16 bits.
        unknown: names that are no quantized tensor of the model, such as weights.
    """

    table: Table
    int16: tuple[str, ...]
    unknown: tuple[str, ...]


def imported(table: Table, params: Sequence[QuantParam]) -> Imported:
    """Put ranges of entries into a table that was measured.

    Raises:
        UsageError: a tensor is to have 4 bits, or the range of its quantizer is given twice.
    """
    rows, wide, unknown = dict(table), [], []
    given: dict[str, str] = {}
    for entry in params:
        name = entry["name"]
        if name not in rows:
            unknown.append(name)
            continue
        if entry["bit"] == 4:
            raise UsageError(f"quant_param gives {name} 4 bits: distq has 8 and 16")
        owner = rows[name].tied_to or name
        low, high = min(0.0, *entry["min"]), max(0.0, *entry["max"])
        own = (low, high, entry["bit"])
        if owner in given and given[owner] != repr(own):
            raise UsageError(f"quant_param gives {owner} two ranges: {name} shares its quantizer")
        given[owner] = repr(own)
        if entry["bit"] == 16:
            wide.append(owner)
        rows[owner] = _with_range(rows[owner], low, high)
    return Imported(rows, tuple(wide), tuple(unknown))


def _with_range(row: Row, low: float, high: float) -> Row:
    threshold = max(-low, high)
    if threshold == 0:
        return row
    return replace(
        row, threshold=threshold, min=low, max=high, observed_min=low, observed_max=high, method="quant_param"
    )
