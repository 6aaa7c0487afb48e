"""The exported model as the page needs it: order and operators of tensors, weights by channel."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx

from distq.graph.read import read_proto
from distq.graph.weight_files import array_of
from distq.quant.scheme import along
from distq.reports.facts import LayerFacts

_WEIGHTED = {"Conv": 0, "ConvTranspose": 1, "Gemm": 1, "MatMul": 1}
"""Operators with weights, and the axis of their output channels."""

_QUANTIZED, _WEIGHT = "_quantized", "_weight_quantized"

_SUBPIXEL = "_subpixel_"
"""In the names of nodes that a ConvTranspose is written with."""


@dataclass(frozen=True)
class ModelFacts:
    """What the exported model tells.

    Attributes:
        kinds: the operator that writes a tensor, by the tensor's name in the user's model, in graph order.
        layers: its layers with weights.
    """

    kinds: dict[str, str]
    layers: tuple[LayerFacts, ...]


def model_facts(path: Path) -> ModelFacts:
    """Read the exported model; nothing of it where there is none.

    Raises:
        ModelError: it is damaged.
    """
    if not path.is_file():
        return ModelFacts({}, ())
    graph = read_proto(path)[0].graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    return ModelFacts(_kinds(graph), tuple(_layers(graph, constants)))


def _kinds(graph: onnx.GraphProto) -> dict[str, str]:
    constants = {tensor.name for tensor in graph.initializer}
    kinds = {value.name: "input" for value in graph.input if value.name not in constants}
    for node in graph.node:
        if node.op_type == "QuantizeLinear" and node.output[0].endswith(_QUANTIZED):
            # what a quantizer reads may have another name: the tensor's own is then that of its outcome
            kinds[node.output[0].removesuffix(_QUANTIZED)] = kinds.get(node.input[0], "")
        elif node.op_type not in {"QuantizeLinear", "DequantizeLinear"}:
            kinds |= dict.fromkeys(node.output, "ConvTranspose" if _SUBPIXEL in node.name else node.op_type)
    return kinds


def _layers(graph: onnx.GraphProto, constants: dict[str, onnx.TensorProto]) -> Iterator[LayerFacts]:
    integers = {
        node.output[0]: node
        for node in graph.node
        if node.op_type == "DequantizeLinear" and {node.input[0], node.input[1]} <= constants.keys()
    }
    for node in graph.node:
        if node.op_type not in _WEIGHTED or len(node.input) < 2:
            continue
        reader = integers.get(node.input[1])
        if reader is not None:
            name = reader.input[0].removesuffix(_WEIGHT)
            weight, axis = _dequantized(reader, constants)
            yield LayerFacts(name, node.op_type, 8, _ranges(weight, _axis(node, weight, axis)))
        elif node.input[1] in constants:
            weight = array_of(constants[node.input[1]])
            yield LayerFacts(node.output[0], node.op_type, 32, _ranges(weight, _axis(node, weight, None)))


def _dequantized(
    reader: onnx.NodeProto, constants: dict[str, onnx.TensorProto]
) -> tuple[npt.NDArray[np.float32], int | None]:
    """Weights as the layer reads them, and the axis of their scales; None where there is one scale."""
    integers = array_of(constants[reader.input[0]])
    scale = array_of(constants[reader.input[1]])
    axis = next((int(a.i) for a in reader.attribute if a.name == "axis"), 1)
    found = axis % integers.ndim if scale.ndim else None
    return integers.astype(np.float32) * along(scale, integers.ndim, found), found


def _axis(node: onnx.NodeProto, weight: npt.NDArray[np.float32], of_scales: int | None) -> int:
    if of_scales is not None:
        return of_scales
    transposed = any(a.name == "transB" and a.i for a in node.attribute)
    wanted = 0 if node.op_type == "Gemm" and transposed else _WEIGHTED[node.op_type]
    return min(wanted, weight.ndim - 1) if node.op_type != "MatMul" else weight.ndim - 1


def _ranges(weight: npt.NDArray[np.float32], axis: int) -> npt.NDArray[np.float64]:
    others = tuple(i for i in range(weight.ndim) if i != axis)
    found: npt.NDArray[np.float64] = np.abs(weight).max(axis=others, initial=0).astype(np.float64)
    return found
