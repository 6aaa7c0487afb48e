"""Whether a network runs exactly on integer kernels that add up two products in 16 bits.

Kernels of x86 processors without VNNI do. ONNX Runtime has others there, for weights of uint8, which it makes
of int8 with ``session.x64quantprecision``; it has none for such weights and activations of int8.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx

from distq.graph.weight_files import array_of
from distq.instructions import has_exact_integer_kernels
from distq.quant.scheme import LARGEST_UNSATURATED

_WEIGHT_OF = {"Conv": 1, "QLinearConv": 3}
"""Position of the weights among the inputs."""


SATURATES = (
    "plain ONNX Runtime saturates on its int8 weights on this processor, and is further from float than told "
    "here: set session.x64quantprecision to 1 there, as distq does"
)
"""Of a network with weights of more than 7 bits."""


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
    exempt = set(_own_channels(graph))
    return any(
        np.abs(array_of(tensor).astype(np.int16)).max(initial=0) > LARGEST_UNSATURATED
        for tensor in graph.initializer
        if tensor.data_type == onnx.TensorProto.INT8 and tensor.name not in exempt
    )


def _own_channels(graph: onnx.GraphProto) -> Iterator[str]:
    """Weights of convolutions with as many groups as outputs, each of which reads one channel."""
    stored = {n.output[0]: n.input[0] for n in graph.node if n.op_type == "DequantizeLinear"}
    sizes = {tensor.name: tensor.dims for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type in _WEIGHT_OF:
            read = node.input[_WEIGHT_OF[node.op_type]]
            name = stored.get(read, read)
            groups = next((a.i for a in node.attribute if a.name == "group"), 1)
            if name in sizes and groups == sizes[name][0] > 1 and sizes[name][1] == 1:
                yield name
