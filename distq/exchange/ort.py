"""Ranges of ONNX Runtime: the JSON of ``calibration_cache_path``, and its ``write_calibration_table``.

Written: the JSON that ``quantize_static(calibration_cache_path=...)`` reads; ``.flatbuffers`` and ``.cache``
(``name absmax``) for the TensorRT provider where the file is called so.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from distq.exchange.flatbuffer import is_flatbuffer, read_pairs, write_pairs
from distq.exchange.formats import Format, Request
from distq.exchange.table import Convention, Entry, ExchangeTable, of_threshold, with_range
from distq.exchange.text import Content, quoted, without

_CACHE = {"CLS", "data", "calibration_method", "smooth_quant"}
_METHOD = {"CLS": "CalibrationMethod", "value": "CalibrationMethod.MinMax"}


def _ranges(content: Content) -> Mapping[str, object] | None:
    """The tensors of any of the JSON forms; None where it is none of them."""
    found = content.json
    if not isinstance(found, dict) or not found:
        return None
    if found.get("CLS") == "TensorsData":
        data = found.get("data")
        return data if isinstance(data, dict) else None
    return found if all(_is_range(value) for value in found.values()) else None


def _is_range(value: object) -> bool:
    if isinstance(value, dict):
        return value.get("CLS") == "TensorData" or {"lowest", "highest"} <= value.keys()
    return isinstance(value, list) and len(value) == 2 and not any(isinstance(v, dict | str) for v in value)


def _recognise(content: Content) -> bool:
    return is_flatbuffer(content) or _ranges(content) is not None


def _read(content: Content, convention: Convention) -> ExchangeTable:
    del convention
    if is_flatbuffer(content):
        return _of_pairs(content, read_pairs(content))
    ranges = _ranges(content)
    if ranges is None:
        return _of_pairs(content, _cache_lines(content))
    found_entries = {name: _entry(content, name, value) for name, value in ranges.items()}
    entries = {name: entry for name, entry in found_entries.items() if entry is not None}
    warnings = without([name for name in found_entries if name not in entries])
    found = content.json
    details = {k: v for k, v in found.items() if k != "data"} if isinstance(found, dict) else {}
    return ExchangeTable(entries, warnings=warnings, details=details if ranges is not found else None)


def _cache_lines(content: Content) -> list[tuple[str, str]]:
    pairs = []
    for number, line in content.lines():
        if line.strip():
            name, blank, value = line.strip().rpartition(" ")
            if not blank:
                content.fail("is no 'name absmax'", number)
            content.positive(value, f"the range of {quoted(name)}", number)
            pairs.append((name, value))
    return pairs


def _of_pairs(content: Content, pairs: list[tuple[str, str]]) -> ExchangeTable:
    entries: dict[str, Entry] = {}
    for name, value in pairs:
        entry = of_threshold(content.positive(value, f"the range of {quoted(name)}"))
        if content.once(entries, name, entry):
            entries[name] = entry
    if not entries:
        content.fail("has no tensor")
    return ExchangeTable(entries)


def _entry(content: Content, name: str, value: object) -> Entry | None:
    """The range of a tensor; None where it is 0."""
    if isinstance(value, dict):
        pair: list[object] = [value.get("lowest"), value.get("highest")]
        pair = [v.get("data") if isinstance(v, dict) else v for v in pair]
    else:
        pair = list(value) if isinstance(value, list) else [None, None]
    pair = [v[0] if isinstance(v, list) and len(v) == 1 else v for v in pair]
    low, high = (content.number(v, f"the range of {quoted(name)}") for v in pair)
    if low > high:
        content.fail(f"the range of {quoted(name)} is from {low:g} to {high:g}")
    low, high = min(low, 0.0), max(high, 0.0)
    threshold = max(-low, high)
    return with_range(threshold, low, high) if threshold > 0 else None


def _write(request: Request) -> bytes:
    table, network = request.table, request.network
    entries = dict(table.entries) if network is None else network.entries(table.entries)
    request.warn_of_bits()
    request.warn_of_weights()
    if request.suffix in {".flatbuffers", ".cache"}:
        request.warn_of_zero_points()
        largest = {name: repr(entry.threshold) for name, entry in entries.items()}
        if request.suffix == ".flatbuffers":
            return write_pairs(largest)
        return "".join(f"{name} {value}\n" for name, value in sorted(largest.items())).encode()
    kept = table.details if isinstance(table.details, dict) else {}
    data = {
        name: {"lowest": entry.low, "highest": entry.high, "CLS": "TensorData"}
        for name, entry in entries.items()
    }
    cache = {"CLS": "TensorsData", "data": data, "calibration_method": _METHOD, "smooth_quant": False}
    return json.dumps(cache | {k: v for k, v in kept.items() if k in _CACHE}).encode()


ORT = Format("ort", "ranges of ONNX Runtime (calibration_cache_path)", _recognise, _read, _write)
