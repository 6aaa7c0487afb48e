"""Find HardSwish in networks that were written before ONNX had it, or without it."""

from __future__ import annotations

import math
from collections.abc import Callable

import onnx_ir as ir

from distq.graph.edits import take_over
from distq.graph.layers import clip_bounds
from distq.graph.values import constant, is_float

_OPSET = 14
"""That has HardSwish; a network of the one before it computes the same under it, but for training."""

_CLOSE = 1e-5  # a sixth has seven digits in many files

Found = ir.Value | None


class WholeSwish(ir.passes.InPlacePass):
    """What is written out as x * clip(x + 3, 0, 6) / 6 becomes HardSwish (ONNX operators, HardSwish-14).

    * The sixth is a Div or a Mul, of the product or of the Clip; HardSigmoid may stand for the gate.
    * Nothing else reads what is between, and no constant changes the shape.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrite each such group in place, and name the opset that has the operator."""
        found = {node: data for node in model.graph if (data := _written_out(node)) is not None}
        trains = any(node.op_type == "BatchNormalization" and len(node.outputs) > 1 for node in model.graph)
        old = model.opset_imports[""] < _OPSET
        if not found or (old and trains):
            return ir.passes.PassResult(model, modified=False)
        model.opset_imports[""] = max(model.opset_imports[""], _OPSET)
        for node, data in found.items():
            made = ir.node("HardSwish", [data], name=node.name)
            model.graph.insert_before(node, made)
            take_over(made.outputs[0], node)
        return ir.passes.PassResult(model, modified=True)


def _written_out(node: ir.Node) -> Found:
    """What a node is the HardSwish of."""
    product = _sixth_of(node)
    if product is not None:
        return _gated(_inner(product), _six_wide)
    return _gated(node, _one_wide)


def _gated(node: ir.Node | None, gate: Callable[[Found], Found]) -> Found:
    """What a Mul multiplies by a gate of it."""
    if node is None or node.op_type != "Mul" or node.domain:
        return None
    first, second = node.inputs
    for data, other in ((first, second), (second, first)):
        if data is not None and is_float(data) and gate(other) is data:
            return data
    return None


def _one_wide(value: Found) -> Found:
    """What a value is the HardSigmoid of, which goes from 0 to 1."""
    node = _inner(value)
    if node is None:
        return None
    if node.op_type == "HardSigmoid":
        slope, middle = node.attributes.get_float("alpha", 0.2), node.attributes.get_float("beta", 0.5)
        return node.inputs[0] if math.isclose(slope, 1 / 6, rel_tol=_CLOSE) and middle == 0.5 else None
    return _six_wide(_sixth_of(node))


def _six_wide(value: Found) -> Found:
    """What a value is the sum with 3 of, clipped to 0 and 6."""
    node = _inner(value)
    if node is None or clip_bounds(node) != (0.0, 6.0):
        return None
    added = _inner(node.inputs[0])
    return _beside(added, 3.0) if added is not None and added.op_type == "Add" else None


def _sixth_of(node: ir.Node) -> Found:
    """What a Div or a Mul takes a sixth of."""
    if node.domain or node.op_type not in {"Div", "Mul"}:
        return None
    return _beside(node, 6.0) if node.op_type == "Div" else _beside(node, 1 / 6)


def _beside(node: ir.Node, wanted: float) -> Found:
    """The other operand where one is a single constant of this value; the divisor is the second."""
    for data, operand in ((0, 1), (1, 0)):
        number, value = constant(node.inputs[operand]), node.inputs[data]
        if number is None or number.size != 1 or value is None or (node.op_type == "Div" and data):
            continue
        keeps_shape = not number.ndim or (value.shape is not None and number.ndim <= len(value.shape))
        if keeps_shape and math.isclose(float(number.reshape(())), wanted, rel_tol=_CLOSE):
            return value
    return None


def _inner(value: Found) -> ir.Node | None:
    """The node that writes a value which one node alone reads."""
    if value is None or value.is_graph_output() or len(value.uses()) != 1:
        return None
    node = value.producer()
    return None if node is None or node.domain else node
