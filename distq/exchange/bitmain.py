"""Bitmain's and CVITEK's calibration table: .pb2, and .prototxt, the same message as text."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from distq.exchange.bitmain_schema import CLASSES
from distq.exchange.bitmain_text import layer_entries
from distq.exchange.formats import Format, Request
from distq.exchange.messages import Message, parse_binary, parse_text, text_of
from distq.exchange.network import Network, Node
from distq.exchange.table import (
    Convention,
    Entry,
    ExchangeTable,
    WeightScales,
    converted_threshold,
    of_threshold,
)
from distq.exchange.text import Content, quoted

_MOST_SHIFT = 31
_ADDING, _POOLING = frozenset({"Add", "Sum", "Max", "Mul"}), frozenset({"AveragePool", "GlobalAveragePool"})


@dataclass(frozen=True)
class _Kept:
    """The message as read; only thresholds are put into it."""

    message: Message


def _recognise_text(content: Content) -> bool:
    return content.text is not None and re.search(
        r"^\s*layer\s*:?\s*[{<]", content.text, re.MULTILINE
    ) is not None and "threshold_y" in content.text  # fmt: skip


def _recognise_binary(content: Content) -> bool:
    """Layers are field 100 of wire type 2; a net begins with its name or with a layer."""
    return (content.data[:1] == b"\x0a" and b"\xa2\x06" in content.data) or content.data[:2] == b"\xa2\x06"


def _read_text(content: Content, convention: Convention) -> ExchangeTable:
    return _table(content, parse_text(content, CLASSES["NetCalibrationParameter"]()), convention)


def _read_binary(content: Content, convention: Convention) -> ExchangeTable:
    return _table(content, parse_binary(content, CLASSES["NetCalibrationParameter"]()), convention)


def _table(content: Content, message: Message, convention: Convention) -> ExchangeTable:
    """Entries by blob where a layer names its blobs, else by layer; the last writer of a blob counts."""
    entries: dict[str, Entry] = {}
    layers: dict[str, list[float]] = {}
    own_entries: dict[str, Entry] = {}
    several = []
    for layer in message.layer:
        if not layer.IsInitialized():
            content.fail(f"layer {quoted(layer.name)} lacks a field that it has to have")
        own = [float(t) for t in layer.threshold_y]
        if content.once(layers, layer.name, own):
            layers[layer.name] = own
        if len(own) == 1:
            value = content.positive(own[0], f"the threshold of {quoted(layer.name)}")
            own_entries[layer.name] = of_threshold(converted_threshold(value, convention, 127))
        named = [(blob.name, float(blob.threshold_y)) for blob in layer.blob_param if blob.name]
        if not named and len(own) > 1:
            several.append(layer.name)
        for name, threshold in named or [(layer.name, t) for t in own[:1]]:
            value = content.positive(threshold, f"the threshold of {quoted(name)}")
            entries[name] = of_threshold(converted_threshold(value, convention, 127))
    if not entries:
        content.fail("has no layer with a threshold")
    warnings = (
        [f"layer {several[0]} has several thresholds and names no blobs: the first is read"]
        if several
        else []
    )
    return ExchangeTable(
        entries,
        naming="layer",
        layers=own_entries if any(layer.blob_param for layer in message.layer) else {},
        warnings=tuple(warnings),
        details=_Kept(message),
        convention=convention,
    )


def _message(request: Request) -> Message:
    table = request.table
    if isinstance(table.details, _Kept):
        return _again(table.details.message, request)
    request.warn_of_zero_points()
    request.warn_of_bits()
    if request.network is None:
        request.warn("no right shifts without --model: layers have thresholds alone")
    net = CLASSES["NetCalibrationParameter"](name="net")
    tensors = table.entries if request.network is None else request.network.entries(table.entries)
    shifts = _Shifts(tensors, request.weights())
    for name, entry in layer_entries(request).items():
        node = request.network.node.get(name) if request.network else None
        blobs = _blobs(request.network, node, tensors, entry) if request.network and node else {name: entry}
        layer = net.layer.add(name=name, right_shift_width=0)
        layer.threshold_y.append(_threshold(entry, request.convention))
        for blob, of_blob in blobs.items():
            layer.blob_param.add(name=blob, threshold_y=_threshold(of_blob, request.convention))
        if node is not None:
            shifts.fill(layer, node, entry)
        layer.bottom_unsigned.extend([False] * max(1, len(node.inputs) if node else 1))
        layer.top_unsigned.extend([False] * max(1, len(blobs)))
    return net


def _blobs(network: Network, node: Node, tensors: Mapping[str, Entry], own: Entry) -> dict[str, Entry]:
    """The entries of what a layer writes, by the names that the user's file has for it."""
    names = network.own_outputs(node)
    written = zip(node.outputs, names, strict=False)
    return {blob: tensors[tensor] for tensor, blob in written if tensor in tensors} or {names[0]: own}


def _again(message: Message, request: Request) -> Message:
    """The message as read, its thresholds in the convention asked for."""
    copy = type(message)()
    copy.CopyFrom(message)
    found = request.table.convention or 128
    if request.convention != found:
        for layer in copy.layer:
            layer.threshold_y[:] = [
                converted_threshold(t, found, request.convention) for t in layer.threshold_y
            ]
            for blob in layer.blob_param:
                blob.threshold_y = converted_threshold(blob.threshold_y, found, request.convention)
    return copy


def _threshold(entry: Entry, convention: Convention) -> float:
    return float(np.float32(converted_threshold(entry.threshold, 127, convention)))


@dataclass(frozen=True)
class _Shifts:
    """Right shifts and multipliers of the BM1880, as its calibration tool and ONNC compute them."""

    entries: Mapping[str, Entry]
    weights: dict[str, WeightScales]

    def fill(self, layer: Message, node: Node, own: Entry) -> None:
        """Give a layer with an entry what its kernel needs, where all its thresholds are known."""
        bottoms = [self.entries[t].threshold for t in node.inputs if t in self.entries]
        tops = [entry.threshold for t in node.outputs if (entry := self.entries.get(t, own)) is not None]
        if not tops or len(bottoms) != len(node.inputs) or not bottoms:
            return
        ratios = [bottom / tops[0] for bottom in bottoms]
        if node.name in self.weights:
            layer.right_shift_width = _weight_shift(max(self.weights[node.name].ranges) * ratios[0])
        elif node.op in _ADDING and len(ratios) > 1:
            layer.right_shift_width, multipliers = _multipliers(ratios, 128)
            layer.threshold_x_quantized.extend(multipliers)
        elif node.op in _POOLING or (node.op == "MaxPool" and ratios[0] != 1):
            layer.right_shift_width, multipliers = _multipliers(ratios, 256)
            layer.threshold_x_quantized.extend(multipliers)
        elif node.op == "Concat" and any(ratio != 1 for ratio in ratios):
            shift, multipliers = _multipliers(ratios, 128)
            layer.concat_param.right_shift_width.extend([shift] * len(ratios))
            layer.concat_param.threshold_x_quantized.extend(multipliers)
            layer.concat_param.need_quantize_num = sum(ratio != 1 for ratio in ratios)


def _weight_shift(largest: float) -> int:
    """The smallest shift by which the largest weight reaches 64 (ONNC, BM1880 Calibration.cpp)."""
    shift = 0
    while largest * 2**shift < 64 and shift < _MOST_SHIFT:
        shift += 1
    return shift


def _multipliers(ratios: list[float], limit: int) -> tuple[int, list[int]]:
    """The largest shift at which all multipliers stay below a limit, and these, rounded."""
    shift = 0
    while max(ratios) * 2 ** (shift + 1) < limit and shift < _MOST_SHIFT:
        shift += 1
    return shift, [min(limit - 1, round(ratio * 2**shift)) for ratio in ratios]


def _write_text(request: Request) -> bytes:
    return text_of(_message(request))


def _write_binary(request: Request) -> bytes:
    data: bytes = _message(request).SerializeToString(deterministic=True)
    return data


BITMAIN = Format(
    "bitmain",
    "the .pb2 table of Bitmain and CVITEK",
    _recognise_binary,
    _read_binary,
    _write_binary,
    convention=128,
    states_convention=False,
)
BITMAIN_PROTOTXT = Format(
    "bitmain-prototxt",
    "the .prototxt table of Bitmain and CVITEK",
    _recognise_text,
    _read_text,
    _write_text,
    convention=128,
    states_convention=False,
)
