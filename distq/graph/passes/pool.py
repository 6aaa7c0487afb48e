"""Bring pools and means over images into a form that has an integer kernel."""

from __future__ import annotations

import onnx_ir as ir

from distq.graph.edits import new_node, take_over
from distq.graph.passes.among import between_layers
from distq.graph.values import constant, is_float


class PlainPool(ir.passes.InPlacePass):
    """AveragePool loses dilations of one: the integer kernel knows no such attribute and fails to load."""

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrite each such node in place."""
        modified = False
        for node in model.graph:
            if node.op_type != "AveragePool" or node.domain:
                continue
            if set(node.attributes.get_ints("dilations", [])) == {1}:
                del node.attributes["dilations"]
                modified = True
        return ir.passes.PassResult(model, modified)


class MeanToPool(ir.passes.InPlacePass):
    """ReduceMean over all dimensions behind the channels becomes GlobalAveragePool, with Flatten if they go.

    * It stands between compute layers, the axes are constants, and there are 4 or 5 dimensions.
    * It is no part of a normalization, which ONNX Runtime runs as one kernel.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrite each such node in place."""
        modified = False
        between = between_layers(model.graph)
        for node in list(model.graph):
            data = (
                node.inputs[0]
                if node in between and _is_over_images(node) and not _normalizes(node)
                else None
            )
            if data is None:
                continue
            made = ir.node("GlobalAveragePool", [data], name=node.name)
            if not node.attributes.get_int("keepdims", 1):
                pooled = new_node(model.graph, node, made, f"{node.outputs[0].name}_pooled")
                made = ir.node("Flatten", [pooled], {"axis": 1}, name=f"Flatten_{node.outputs[0].name}")
            model.graph.insert_before(node, made)
            take_over(made.outputs[0], node)
            modified = True
        return ir.passes.PassResult(model, modified)


def _is_over_images(node: ir.Node) -> bool:
    if node.op_type != "ReduceMean" or node.domain or not all(map(is_float, (node.inputs[0], *node.outputs))):
        return False
    data = node.inputs[0]
    given = constant(node.inputs[1]) if len(node.inputs) > 1 else None
    axes = (
        node.attributes.get_ints("axes", []) if given is None else [int(axis) for axis in given.reshape(-1)]
    )
    rank = 0 if data is None or data.shape is None else len(data.shape)
    return rank in {4, 5} and sorted(axis % rank for axis in axes) == list(range(2, rank))


def _normalizes(mean: ir.Node) -> bool:
    """Whether a mean is subtracted, or taken of squares."""
    square = mean.inputs[0].producer() if mean.inputs[0] is not None else None
    squared = square is not None and (
        square.op_type == "Pow" or (square.op_type == "Mul" and square.inputs[0] is square.inputs[1])
    )
    return squared or any(use.node.op_type == "Sub" for use in mean.outputs[0].uses())
