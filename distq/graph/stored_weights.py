"""Weights that a file stores as integers, behind a DequantizeLinear of constants, become float.

Such a network computes in float: its weights alone were made smaller. What multiplies is in them as before.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto

from distq.graph import weight_files
from distq.graph.large import put_away_inside
from distq.graph.read import graphs_in, nodes_in

_DOMAINS = frozenset({"", "com.microsoft"})


def dequantize_weights(model: onnx.ModelProto) -> int:
    """Put a Constant in place of each DequantizeLinear of constants, in place; gives how many there were.

    What QuantizeLinear makes of a constant in front of it is one as well. The constant has the type of the
    scale. Integers of 4 bits and blocks with a scale each are known, too (ONNX operators,
    DequantizeLinear-21).
    """
    constants = dict(_constants(model))
    count = 0
    for node in nodes_in(model):
        kind = node.op_type if node.domain in _DOMAINS else ""
        if kind not in {"QuantizeLinear", "DequantizeLinear"}:
            continue
        if not constants.keys() >= {name for name in node.input if name}:
            continue
        value = (_quantized if kind == "QuantizeLinear" else _dequantized)(node, constants)
        if value is None:
            continue
        tensor = onnx.numpy_helper.from_array(value, node.output[0])
        constants[tensor.name] = tensor
        node.CopyFrom(onnx.helper.make_node("Constant", [], node.output, name=node.name, value=tensor))
        count += kind == "DequantizeLinear"
    if count:
        put_away_inside(model)
    return count


def _constants(model: onnx.ModelProto) -> Iterator[tuple[str, TensorProto]]:
    """Initializers and what Constant writes, by name; none that a caller of the network may replace."""
    inputs = {value.name for value in model.graph.input}
    for graph in graphs_in(model):
        listed = graph is model.graph and not {tensor.name for tensor in graph.initializer} <= inputs
        for tensor in graph.initializer:
            if not (listed and tensor.name in inputs):
                yield tensor.name, tensor
    for node in nodes_in(model):
        if node.op_type == "Constant" and node.attribute and node.attribute[0].name == "value":
            yield node.output[0], node.attribute[0].t


def _quantized(node: onnx.NodeProto, constants: Mapping[str, TensorProto]) -> npt.NDArray[np.generic] | None:
    """The integers of 8 or 16 bits that a QuantizeLinear makes of a constant; None of any others."""
    real, scale = (_array(constants[name]).astype(np.float32) for name in node.input[:2])
    zero_point = (
        _array(constants[node.input[2]]) if len(node.input) > 2 and node.input[2] else np.zeros((), np.uint8)
    )
    kinds = {"int8", "uint8", "int16", "uint16"}
    if zero_point.dtype.name not in kinds or any(a.name != "axis" for a in node.attribute):
        return None
    axis = next((attribute.i for attribute in node.attribute), 1)
    steps, zero = (_along(part.astype(np.float32), real, axis, 0) for part in (scale, zero_point))
    limits = np.iinfo(zero_point.dtype.name)
    integers: npt.NDArray[np.generic] = np.clip(np.rint(real / steps) + zero, limits.min, limits.max)
    return integers.astype(zero_point.dtype)


def _dequantized(node: onnx.NodeProto, constants: Mapping[str, TensorProto]) -> npt.NDArray[np.generic]:
    attributes = {attribute.name: attribute.i for attribute in node.attribute}
    integers, scale = (_array(constants[name]) for name in node.input[:2])
    zero_point = _array(constants[node.input[2]]) if len(node.input) > 2 and node.input[2] else np.zeros(())
    real = integers.astype(np.float32)
    axis, block = attributes.get("axis", 1), attributes.get("block_size", 0)
    steps, zero = (_along(part.astype(np.float32), real, axis, block) for part in (scale, zero_point))
    return np.asarray((real - zero) * steps).astype(scale.dtype)


def _along(
    numbers: npt.NDArray[np.float32], data: npt.NDArray[np.float32], axis: int, block: int
) -> npt.NDArray[np.float32]:
    """Scales or zero points in a shape that meets the data: one for all, one an axis, or one a block."""
    if numbers.size == 1 and numbers.ndim < 2:
        return numbers.reshape(())
    if numbers.ndim == 1 and not block:
        return numbers.reshape([-1 if i == axis % data.ndim else 1 for i in range(data.ndim)])
    repeated = np.repeat(numbers, block, axis)
    return np.take(repeated, range(data.shape[axis]), axis)


def _array(tensor: TensorProto) -> npt.NDArray[np.generic]:
    found: npt.NDArray[np.generic] = onnx.numpy_helper.to_array(tensor, weight_files.ROOT)
    return found
