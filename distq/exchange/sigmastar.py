"""SigmaStar's quant_param: ranges and bits of tensors, as JSON; its pickles are refused."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from distq.exchange.formats import Format, Request
from distq.exchange.table import Convention, Entry, ExchangeTable, WeightScales, with_range
from distq.exchange.text import Content, listed, quoted, without

_BITS = (8, 16)
_LEAST = 1e-30
"""Of a channel that is always zero."""


def _rows(content: Content) -> list[dict[str, object]] | None:
    found = content.json
    if not isinstance(found, list) or not found:
        return None
    good = all(isinstance(row, dict) and {"name", "min", "max"} <= row.keys() for row in found)
    return found if good else None


def _recognise(content: Content) -> bool:
    return _rows(content) is not None


def _read(content: Content, convention: Convention) -> ExchangeTable:
    """A row a tensor; min and max are lists, one number or one a channel.

    Lists say as much of a weight as of an activation: which of the two it is, the network knows.
    """
    del convention
    rows = _rows(content)
    if rows is None:
        content.fail("is no list of {name, min, max, bit}")
    entries: dict[str, Entry] = {}
    weights: dict[str, WeightScales] = {}
    four: list[str] = []
    zero: list[str] = []
    for row in rows:
        name = row["name"]
        if not isinstance(name, str) or not name:
            content.fail(f"the name of a tensor is {quoted(name)}")
        bits = content.integer(row.get("bit", 8), f"bit of {quoted(name)}", range(4, 17, 4))
        lows, highs = _ends(content, name, row)
        if bits not in _BITS:
            four.append(name)
            continue
        largest = [max(-low, high, _LEAST) for low, high in zip(lows, highs, strict=True)]
        if len(lows) > 1:
            weights[name] = WeightScales(tuple(value / (2 ** (bits - 1) - 1) for value in largest), bits)
        threshold = max(largest)
        if threshold == _LEAST:
            zero.append(name)
            continue
        entry = with_range(threshold, min(0.0, *lows), max(0.0, *highs), bits)
        if content.once(entries, name, entry):
            entries[name] = entry
    warnings = (f"tensors of other bits than 8 and 16 are passed over: {listed(four, 3)}",) if four else ()
    return ExchangeTable(entries, weights=weights, warnings=(*warnings, *without(zero)), details=rows)


def _ends(content: Content, name: str, row: dict[str, object]) -> tuple[list[float], list[float]]:
    """Minima and maxima, of one channel or of each."""
    lows, highs = (_numbers(content, row[key], f"{key} of {quoted(name)}") for key in ("min", "max"))
    if len(lows) != len(highs) or not lows:
        content.fail(f"{quoted(name)} has {len(lows)} min and {len(highs)} max")
    bad = next((pair for pair in zip(lows, highs, strict=True) if pair[0] > pair[1]), None)
    if bad is not None:
        content.fail(f"the range of {quoted(name)} is from {bad[0]:g} to {bad[1]:g}")
    return lows, highs


def _numbers(content: Content, value: object, what: str) -> list[float]:
    values = value if isinstance(value, list) else [value]
    return [content.number(v, what) for v in values]


def _write(request: Request) -> bytes:
    table, network = request.table, request.network
    if isinstance(table.details, list):
        return dumped(table.details)
    entries = dict(table.entries) if network is None else network.entries(table.entries)
    rows: list[Mapping[str, object]] = []
    if network is not None:
        weights = request.weights()
        rows += [_weight_row(node.weight, weights[node.name]) for node in network.weighted]
    else:
        rows += [_weight_row(name, weight) for name, weight in table.weights.items()]
    rows += [
        {"name": name, "min": [entry.low], "max": [entry.high], "bit": entry.bits}
        for name, entry in entries.items()
    ]
    return dumped(rows)


def _weight_row(name: str, weight: WeightScales) -> dict[str, object]:
    ranges = list(weight.ranges)
    return {"name": name, "min": [-value for value in ranges], "max": ranges, "bit": weight.bits}


def dumped(rows: Sequence[Mapping[str, object]]) -> bytes:
    """The file of some rows, one a line."""
    return ("[" + ",\n ".join(json.dumps(row) for row in rows) + "]\n").encode()


SIGMASTAR = Format("sigmastar", "SigmaStar's quant_param JSON", _recognise, _read, _write)
