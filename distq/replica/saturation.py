"""Whether a network runs exactly on integer kernels that add up two products in 16 bits.

Kernels of x86 processors without VNNI do. ONNX Runtime has others there, for weights of uint8, which it makes
of int8 with ``session.x64quantprecision``; it has none for such weights and activations of int8.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from distq.graph.integer_weight import as_rows
from distq.graph.weight_files import array_of
from distq.instructions import has_exact_integer_kernels
from distq.quant.pairs import LARGEST_PAIR, largest_pairs
from distq.quant.scheme import LARGEST_UNSATURATED

_WEIGHT_OF = {
    "Conv": 1,
    "ConvTranspose": 1,
    "Gemm": 1,
    "MatMul": 1,
    "QLinearConv": 3,
    "QLinearMatMul": 3,
    "QGemm": 3,
    "ConvInteger": 1,
    "MatMulInteger": 1,
}
"""Position of the weights among the inputs."""

SATURATES = (
    "plain ONNX Runtime saturates on its int8 weights on this processor, and is further from float than told "
    "here: set session.x64quantprecision to 1 there, as distq does"
)
"""Of a network with weights that are too large for these kernels."""


def told_of(graph: onnx.GraphProto) -> tuple[str, ...]:
    """A line where ONNX Runtime, as its user opens it, is not exact on this processor."""
    saturates = not has_exact_integer_kernels() and not reads_int8(graph) and may_saturate(graph)
    return (SATURATES,) if saturates else ()


def reads_int8(graph: onnx.GraphProto) -> bool:
    """Whether a QDQ graph has activations of int8, which its layers read; weights do not count."""
    constants = {t.name: t.data_type for t in graph.initializer}
    fed = {i.name: i.type.tensor_type.elem_type for i in graph.input}  # a zero point may be a candidate's
    return any(
        node.op_type == "DequantizeLinear"
        and node.input[0] not in constants
        and (constants | fed).get(node.input[-1]) == onnx.TensorProto.INT8
        for node in graph.node
    )


def may_saturate(graph: onnx.GraphProto) -> bool:
    """Whether products of some int8 weights go beyond 16 bits; depthwise kernels add up in 32."""
    readers = _readers(graph)
    return any(
        _beyond(array_of(tensor), readers.get(tensor.name, ()))
        for tensor in graph.initializer
        if tensor.data_type == onnx.TensorProto.INT8
    )


def _readers(graph: onnx.GraphProto) -> dict[str, list[onnx.NodeProto]]:
    """Which layers read what is stored as weights, by name."""
    stored = {n.output[0]: n.input[0] for n in graph.node if n.op_type == "DequantizeLinear"}
    found: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        if node.op_type in _WEIGHT_OF:
            read = node.input[_WEIGHT_OF[node.op_type]]
            found.setdefault(stored.get(read, read), []).append(node)
    return found


def _beyond(weight: npt.NDArray[Any], readers: Sequence[onnx.NodeProto]) -> bool:
    """Whether two products of a weight may go beyond 16 bits; so where nobody is known that reads it."""
    if np.abs(weight.astype(np.int16)).max(initial=0) <= LARGEST_UNSATURATED:
        return False
    return not readers or any(_too_large(weight, node) for node in readers)


def _too_large(weight: npt.NDArray[Any], node: onnx.NodeProto) -> bool:
    numbers = {a.name: a.i for a in node.attribute}
    op = node.op_type.removeprefix("QLinear").removeprefix("Q").removesuffix("Integer")
    if op == "Conv" and weight.shape[1] == 1 and weight.shape[0] == numbers.get("group", 1) > 1:
        return False  # a kernel of its own
    by_op = {"Conv": 0, "ConvTranspose": 1, "Gemm": 1 - numbers.get("transB", 0)}
    axis = by_op.get(op, 1 if weight.ndim == 2 else None)
    return bool(largest_pairs(as_rows(weight, axis, ())).max() > LARGEST_PAIR)
