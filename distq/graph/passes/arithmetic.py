"""Bring arithmetic into the two operators that have integer kernels: Add and Mul."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from distq.graph.edits import add_initializer, take_over
from distq.graph.passes.among import among_integers, between_layers
from distq.graph.values import constant, is_float


class PlainArithmetic(ir.passes.InPlacePass):
    """Sum becomes Add; Sub of a number and Div by one become Add and Mul with its negative or inverse.

    * The node stands between compute layers, among operators that run on integers.
    * A Sum has two inputs; the number is a constant of one value, and its inverse is finite.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrite each such node in place."""
        modified = False
        between = between_layers(model.graph)
        for node in list(model.graph):
            if node in between and node.op_type in {"Sum", "Sub", "Div"} and not node.domain:
                modified |= among_integers(node) and _rewrite(model.graph, node)
        return ir.passes.PassResult(model, modified)


def _rewrite(graph: ir.Graph, node: ir.Node) -> bool:
    if len(node.inputs) != 2 or not all(map(is_float, (*node.inputs, *node.outputs))):
        return False
    operand, second = "Add", node.inputs[1]
    if node.op_type != "Sum":
        number = constant(second)
        if number is None or number.size != 1 or number.dtype != np.float32:
            return False
        with np.errstate(divide="ignore", over="ignore"):
            given = -number if node.op_type == "Sub" else np.float32(1) / number
        if not np.isfinite(given).all():
            return False
        operand = "Add" if node.op_type == "Sub" else "Mul"
        second = add_initializer(graph, f"{node.outputs[0].name}_number", np.asarray(given, np.float32))
    made = ir.node(operand, [node.inputs[0], second], name=node.name)
    graph.insert_before(node, made)
    take_over(made.outputs[0], node)
    return True
