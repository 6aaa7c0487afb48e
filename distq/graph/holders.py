"""Which integer tensor of the graph that ONNX Runtime runs holds each quantized tensor.

ONNX Runtime takes operators out that do nothing on integers, and quantizers with them: no name that an
exported model has is sure to be in the graph that is run.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import onnx
import onnx_ir as ir

from distq.graph.layers import Layer, passes_values
from distq.graph.linear import name_before
from distq.graph.names import Names
from distq.graph.plan import Plan
from distq.graph.subgraph import Network
from distq.graph.values import constant, values_of

_KEEPING = frozenset(
    {"Relu", "Clip", "Identity", "Dropout", "Cast", "Pad", "Concat", "Sum", "Max", "Min", "Mean"}
)
"""What ONNX Runtime may take out beside operators that pass values on."""

_READ = {"QLinearConv": (0,), "QGemm": (0,), "QLinearMatMul": (0, 3), "MatMulIntegerToFloat": (0, 1)}
"""Where integer kernels have the data that a layer multiplies."""


def missing(network: Network, plan: Plan, names: Names) -> list[str]:
    """Quantized tensors whose integers no node of a graph that is run writes."""
    return [tensor for tensor in plan.by_tensor if names.quantized(tensor) not in network.producer]


def held_before(model: ir.Model, plan: Plan, absent: Collection[str]) -> dict[str, str]:
    """For each absent tensor the nearest quantized one before it that is not absent, where there is one.

    Between them stands nothing that changes values, but for ending their range.

    Args:
        model: the float network.
        plan: for it.
        absent: what :func:`missing` gives.
    """
    values = {value.name or "": value for value in values_of(model.graph)}
    tensors = plan.by_tensor.keys() - set(absent)
    found = {}
    for name in absent:
        value = _data_of(values[name])
        while value is not None and value.name not in tensors:
            value = _data_of(value)
        if value is not None:
            found[name] = value.name or ""
    return found


def integer_tensors(network: Network, model: ir.Model, plan: Plan, names: Names) -> Mapping[str, str] | None:
    """The integer tensor that holds each quantized tensor; None where one of them cannot be found.

    A tensor that shares its quantizer with one before it may be held by that one: the operators between the
    two do nothing together, or nothing to integers.
    """
    constants = [name(q.name) for q in plan.quantizers for name in (names.scale, names.zero_point)]
    if not network.initializers.keys() >= set(constants):
        return None
    absent = missing(network, plan, names)
    before, owners = held_before(model, plan, absent), plan.by_tensor
    if any(tensor not in before or owners[before[tensor]] != owners[tensor] for tensor in absent):
        return None
    held = {t: names.quantized(before.get(t, t)) for q in plan.quantizers for t in q.tensors}
    given = {layer.node for layer in plan.layers}
    nodes = {name_before(node.name, given): node for node in network.nodes}
    for layer in plan.layers:
        if any(tensor in before for tensor in layer.inputs):
            read = _read_by(network, nodes.get(layer.node), layer)
            if read is None:
                return None
            held |= read
    return held


def _data_of(value: ir.Value) -> ir.Value | None:
    """The one tensor whose values the node that writes a value passes on, where it does."""
    node = value.producer()
    if node is None or not (passes_values(node) or (not node.domain and node.op_type in _KEEPING)):
        return None
    read = [v for v in node.inputs if v is not None and constant(v) is None]
    return read[0] if len(read) == 1 else None


def _read_by(network: Network, node: onnx.NodeProto | None, layer: Layer) -> dict[str, str] | None:
    """The integer tensors that the node of a layer reads, directly or behind DequantizeLinear."""
    if node is None:
        return None
    positions = _READ.get(node.op_type, tuple(range(len(layer.inputs))))
    found = {}
    for tensor, position in zip(layer.inputs, positions, strict=False):
        name = node.input[position]
        if node.op_type not in _READ:
            writer = network.producer.get(name)
            if writer is None or network.nodes[writer].op_type != "DequantizeLinear":
                return None
            name = network.nodes[writer].input[0]
        found[tensor] = name
    return found
