"""The text table of CVITEK and Bitmain: ``name threshold``, and lines of weights and bit widths.

Lines as ``sophgo/tpu_compiler`` (ImportCalibrationTable.cpp) takes them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from distq.errors import plural
from distq.exchange.formats import Format, Request
from distq.exchange.table import (
    Convention,
    Entry,
    ExchangeTable,
    WeightScales,
    converted_threshold,
    of_threshold,
)
from distq.exchange.text import Content, listed, quoted
from distq.exchange.two_columns import rows_of


@dataclass(frozen=True)
class _Kept:
    """Lines as they are, and which of them are rows, by name."""

    lines: tuple[str, ...]
    rows: Mapping[str, int]


def _recognise(content: Content) -> bool:
    """A line ``weight name t1 t2 ...`` or ``bitwidth name bits`` is of no other format."""
    return any(row[0] in {"weight", "bitwidth"} and len(row) > 2 for row in rows_of(content))


def _read(content: Content, convention: Convention) -> ExchangeTable:
    entries: dict[str, Entry] = {}
    weights: dict[str, WeightScales] = {}
    bits: dict[str, int] = {}
    lines: list[str] = []
    rows: dict[str, int] = {}
    for number, line in content.lines():
        fields = line.split()
        if not fields or fields[0].startswith("#"):
            lines.append(line)
        elif fields[0] == "bitwidth" and len(fields) == 3:
            bits[fields[1]] = content.integer(fields[2], "bits", range(8, 17, 8), number)
            lines.append(line)
        elif fields[0] == "weight" and len(fields) > 2:
            ranges = [content.positive(text, "a threshold", number) for text in fields[2:]]
            steps = [converted_threshold(value, convention, 127) / 127 for value in ranges]
            weights[fields[1]] = WeightScales(tuple(steps))
            lines.append(line)
        elif len(fields) == 2:
            threshold = content.positive(fields[1], f"the threshold of {quoted(fields[0])}", number)
            entry = of_threshold(converted_threshold(threshold, convention, 127))
            if content.once(entries, fields[0], entry, number):
                entries[fields[0]] = entry
                rows[fields[0]] = len(lines)
                lines.append(line)
        else:
            content.fail(f"has {plural(len(fields), 'field')}; a row is 'name threshold'", number)
    entries |= {name: replace(entries[name], bits=width) for name, width in bits.items() if name in entries}
    kept = _Kept(tuple(lines), rows)
    return ExchangeTable(entries, weights=weights, naming="layer", details=kept, convention=convention)


def layer_entries(request: Request) -> dict[str, Entry]:
    """Entries by layer, for each node that writes a tensor with one; without a network by tensor.

    A convolution and what is folded into it all get the last one's: the vendor's tool merges them.
    """
    table, network = request.table, request.network
    if network is None:
        return dict(table.entries)
    found = network.entries(table.entries)
    layers = {name: found[name] for name in network.inputs if name in found}
    folded = network.folded()
    for node in network.own_nodes:
        ends = (*node.outputs, folded.get(node.name, ""))
        entry = next((found[tensor] for tensor in ends if tensor in found), None)
        if entry is not None:
            layers[node.name] = entry
    return layers


def _write(request: Request) -> bytes:
    kept = request.table.details if isinstance(request.table.details, _Kept) else None
    if kept is not None and request.table.convention == request.convention:
        return "\n".join(kept.lines).encode()
    entries = dict(request.table.entries) if kept else layer_entries(request)
    if kept is None:
        request.warn_of_zero_points()
        request.warn_of_bits()
        request.warn_of_weights()
    blank = [name for name in entries if name.split() != [name]]
    if blank:
        request.warn(f"no names with blanks: {listed(blank, 2)} left out")
    rows = {
        name: f"{name} {shortest(converted_threshold(entry.threshold, 127, request.convention))}"
        for name, entry in entries.items()
        if name not in blank
    }
    if kept is None:
        return "".join(f"{row}\n" for row in rows.values()).encode()
    lines = list(kept.lines)
    for name, number in kept.rows.items():
        lines[number] = rows[name]
    return "\n".join(lines).encode()


def shortest(value: float) -> str:
    """A float32 in its shortest form, without an exponent that the vendors' readers do not know."""
    return str(np.format_float_positional(np.float32(value), trim="-"))


BITMAIN_TEXT = Format(
    "bitmain-text",
    "the text table of Bitmain and CVITEK",
    _recognise,
    _read,
    _write,
    convention=128,
    states_convention=False,
)
