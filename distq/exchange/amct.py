"""The record file of Huawei's AMCT: scales of what a layer reads and of its weights, as protobuf text.

Messages and limits are those of scale_offset_record.proto (Ascend documentation, "Record file").
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from distq.exchange.formats import Format, Request
from distq.exchange.messages import Message, message_classes, parse_text, text_of
from distq.exchange.network import WeightedNode
from distq.exchange.table import Convention, Entry, ExchangeTable, WeightScales, of_quantizer
from distq.exchange.text import Content, listed, quoted

_LEAST, _MOST = 1.1920929e-7, 8388607.5
"""What a scale lies between."""

CLASSES = message_classes(
    "distq_amct",
    {
        "ScaleOffsetRecord": {"record": (1, "repeated MapFiledEntry")},
        "MapFiledEntry": {"key": (1, "string"), "value": (2, "SingleLayerRecord")},
        "SingleLayerRecord": {
            "scale_d": (1, "float"),
            "offset_d": (2, "int32"),
            "scale_w": (3, "repeated float"),
            "offset_w": (4, "repeated int32"),
            "shift_bit": (5, "repeated uint32"),
            "skip_fusion": (6, "bool"),
            "is_tensor_quantize": (10, "bool"),
            "tensor_balance_factor": (13, "repeated float"),
            "op_data_type": (15, "string"),
            "act_type": (20, "string"),
            "wts_type": (21, "string"),
        },
    },
)
_LAYERS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
"""ONNX operators whose layers AMCT quantizes."""


@dataclass(frozen=True)
class _Kept:
    """The message as read."""

    message: Message


def _recognise(content: Content) -> bool:
    if content.text is None:
        return False
    return content.text.lstrip().startswith("record") and "scale_d" in content.text


def _read(content: Content, convention: Convention) -> ExchangeTable:
    """X is about (q - offset_d) * scale_d with q from -128 to 127."""
    del convention
    message = parse_text(content, CLASSES["ScaleOffsetRecord"]())
    entries: dict[str, Entry] = {}
    weights: dict[str, WeightScales] = {}
    for record in message.record:
        name, value = record.key, record.value
        if value.HasField("scale_d"):
            scale = _scale(content, float(value.scale_d), name)
            offset = content.integer(value.offset_d, f"offset_d of {quoted(name)}", range(-128, 128))
            entry = of_quantizer(scale, offset + 128)
            if content.once(entries, name, entry):
                entries[name] = entry
        if value.scale_w:
            if any(value.offset_w):
                content.fail(f"offset_w of {quoted(name)} is not 0: AMCT's weights are symmetric")
            weights[name] = WeightScales(tuple(_scale(content, float(s), name) for s in value.scale_w))
    if not entries:
        content.fail("has no record with scale_d")
    return ExchangeTable(entries, weights=weights, naming="layer input", details=_Kept(message))


def _scale(content: Content, scale: float, name: str) -> float:
    content.positive(scale, f"a scale of {quoted(name)}")
    if not np.float32(_LEAST) <= np.float32(scale) <= np.float32(_MOST):
        content.fail(f"a scale of {quoted(name)} is {scale:g}; AMCT takes {_LEAST:g} to {_MOST:g}")
    return scale


def _write(request: Request) -> bytes:
    if isinstance(request.table.details, _Kept):
        return text_of(request.table.details.message)
    network = request.require_network("AMCT has scales of layers, by the names of their nodes")
    table, weights = network.entries(request.table.entries), request.weights()
    request.warn_of_bits()
    message = CLASSES["ScaleOffsetRecord"]()
    left, outside, written = [], [], []
    for node in network.weighted:
        stays = network.in_float(node, request.table.modes)
        if node.op not in _LAYERS or node.input not in table or stays:
            left.append(node.name)
            continue
        entry = table[node.input]
        written.append(entry)
        scale, zero_point = (entry.threshold / 127, 128) if entry.bits == 16 else entry.quantizer
        value = message.record.add(key=node.name).value
        value.scale_d = _held(scale)
        if not _LEAST <= scale <= _MOST:
            outside.append(node.name)
        value.offset_d = zero_point - 128
        scales = _weight_scales(node, weights[node.name])
        value.scale_w.extend(scales)
        value.offset_w.extend([0] * len(scales))
    request.warn_of_unread(written)
    if outside:
        request.warn(f"no scales below {_LEAST:g} or above {_MOST:g}, which are cut: {listed(outside, 3)}")
    if left:
        request.warn(f"layers without a record stay in float: {listed(left, 3)}")
    return text_of(message)


def _weight_scales(node: WeightedNode, weight: WeightScales) -> list[float]:
    """One for each channel of a convolution; one alone of a Gemm or MatMul."""
    if node.op in {"Gemm", "MatMul"}:
        return [_held(max(weight.in_8_bits))]
    return [_held(scale) for scale in weight.in_8_bits]


def _held(scale: float) -> float:
    return float(np.clip(np.float32(scale), np.float32(_LEAST), np.float32(_MOST)))


AMCT = Format("amct", "the record file of Huawei's AMCT", _recognise, _read, _write)
