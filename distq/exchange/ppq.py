"""PPQ's JSON for TensorRT: the largest magnitude of each tensor."""

from __future__ import annotations

import json

from distq.exchange.formats import Format, Request
from distq.exchange.table import Convention, ExchangeTable, of_threshold
from distq.exchange.text import Content, quoted

_KEY = "act_quant_info"


def _recognise(content: Content) -> bool:
    return isinstance(content.json, dict) and isinstance(content.json.get(_KEY), dict)


def _read(content: Content, convention: Convention) -> ExchangeTable:
    del convention
    found = content.json.get(_KEY) if isinstance(content.json, dict) else None
    if not isinstance(found, dict) or not found:
        content.fail(f"has no tensor in {_KEY}")
    entries = {
        name: of_threshold(content.positive(value, f"the range of {quoted(name)}"))
        for name, value in found.items()
    }
    return ExchangeTable(entries, details=content.json)


def _write(request: Request) -> bytes:
    table = request.table
    entries = dict(table.entries) if request.network is None else request.network.entries(table.entries)
    request.warn_of_zero_points()
    request.warn_of_bits()
    request.warn_of_weights()
    ranges = {name: entry.threshold for name, entry in entries.items()}
    return (json.dumps({_KEY: ranges}, indent=4) + "\n").encode()


PPQ = Format("ppq", "PPQ's JSON for TensorRT", _recognise, _read, _write)
