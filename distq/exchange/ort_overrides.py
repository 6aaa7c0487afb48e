"""TensorQuantOverrides of ONNX Runtime's quantize_static: exact scales of activations and weights, as JSON.

ONNX Runtime takes a dictionary of Python and has no file for it: docs/interop.md shows how to read this.
"""

from __future__ import annotations

import json

from distq.exchange.formats import Format, Request
from distq.exchange.table import (
    Convention,
    Entry,
    ExchangeTable,
    WeightScales,
    of_quantizer,
    with_range,
)
from distq.exchange.text import Content, quoted

_TYPES = {"QUInt8": (8, False), "QInt8": (8, True), "QUInt16": (16, False), "QInt16": (16, True)}
_KEYS = {
    "quant_type",
    "scale",
    "zero_point",
    "symmetric",
    "reduce_range",
    "rmin",
    "rmax",
    "axis",
    "convert",
}


def _recognise(content: Content) -> bool:
    found = content.json
    return isinstance(found, dict) and bool(found) and all(
        isinstance(v, list) and v and all(isinstance(d, dict) and "quant_type" in d for d in v)
        for v in found.values()
    )  # fmt: skip


def _read(content: Content, convention: Convention) -> ExchangeTable:
    del convention
    found = content.json
    if not isinstance(found, dict):
        content.fail("is no JSON object")
    entries: dict[str, Entry] = {}
    weights: dict[str, WeightScales] = {}
    for name, rows in found.items():
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows) or not rows:
            content.fail(f"{quoted(name)} has no list of overrides")
        unknown = sorted(set().union(*rows) - _KEYS)
        if unknown:
            content.fail(f"{quoted(name)} has {quoted(unknown[0])}, which ONNX Runtime does not know")
        if "axis" in rows[0] or len(rows) > 1:
            if all("scale" in row for row in rows):
                scales = (content.positive(row["scale"], f"a scale of {quoted(name)}") for row in rows)
                weights[name] = WeightScales(tuple(scales))
            continue
        entry = _entry(content, name, rows[0])
        if entry is not None:
            entries[name] = entry
    return ExchangeTable(entries, weights=weights)


def _entry(content: Content, name: str, row: dict[str, object]) -> Entry | None:
    """What one override says; None where it says a type alone."""
    kind = row.get("quant_type", "QUInt8")
    if kind not in _TYPES:
        content.fail(f"the quant_type of {quoted(name)} is {quoted(kind)}; known are {', '.join(_TYPES)}")
    bits, signed = _TYPES[str(kind)]
    half = 2 ** (bits - 1)
    if ("scale" in row) != ("zero_point" in row):
        content.fail(f"{quoted(name)} has one of scale and zero_point; ONNX Runtime wants both")
    if "scale" in row:
        scale = content.positive(row["scale"], f"the scale of {quoted(name)}")
        among = range(-half, half) if signed else range(2 * half)
        zero_point = content.integer(row["zero_point"], f"the zero point of {quoted(name)}", among)
        return of_quantizer(scale, zero_point + (half if signed else 0), bits, largest=not signed)
    if "rmin" in row and "rmax" in row:
        low, high = (content.number(row[key], f"{key} of {quoted(name)}") for key in ("rmin", "rmax"))
        low, high = min(low, 0.0), max(high, 0.0)
        threshold = content.positive(max(-low, high), f"the range of {quoted(name)}")
        return with_range(threshold, low, high, bits)
    return None


def _write(request: Request) -> bytes:
    table, network = request.table, request.network
    entries = dict(table.entries) if network is None else network.entries(table.entries)
    overrides: dict[str, list[dict[str, object]]] = {}
    for name, entry in entries.items():
        scale, zero_point = entry.quantizer
        overrides[name] = [{"quant_type": f"QUInt{entry.bits}", "scale": scale, "zero_point": zero_point}]
    if any(entry.bits == 16 for entry in entries.values()):
        request.warn("16-bit tensors beside others need MixedPrecisionTensorQuantOverridesFixer")
    if network is not None:
        weights = request.weights()
        folded = [w.name for w in network.weighted if w.folded]
        if folded:
            request.warn(
                "scales of weights are those behind folding BatchNormalization: quant_pre_process first"
            )
        for node in network.weighted:
            scales = weights[node.name].in_8_bits
            overrides[node.weight] = [
                {"quant_type": "QInt8", "scale": scale, "zero_point": 0}
                | ({} if node.axis is None else {"axis": node.axis})
                for scale in scales
            ]
    elif table.weights:
        for name, weight in table.weights.items():
            overrides[name] = [
                {"quant_type": "QInt8", "scale": s, "zero_point": 0, "axis": 0} for s in weight.in_8_bits
            ]
    return (json.dumps(overrides, indent=1) + "\n").encode()


ORT_OVERRIDES = Format("ort-overrides", "TensorQuantOverrides of ONNX Runtime", _recognise, _read, _write)
