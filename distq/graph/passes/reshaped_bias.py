"""Bring the bias of a linear layer in front of the Reshape that stands between the two."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from distq.graph.edits import add_initializer
from distq.graph.values import constant, is_float, only_reader


class BiasBeforeReshape(ir.passes.InPlacePass):
    """A constant added behind the Reshape of a product is added in front of it, where it is the bias.

    Exporters of Keras write a linear layer of a tensor as a product of its rows, a Reshape back, and an Add.

    * The product has constant weights, and nothing else reads it or the Reshape's output.
    * The last dimensions behind the Reshape are those of the constant, and together the product's columns.
    * The sum takes the name of the product, and the Reshape that of the Add.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrite each such pair in place."""
        modified = False
        for node in list(model.graph):
            if node.op_type not in {"MatMul", "Gemm"} or node.domain or not is_float(node.outputs[0]):
                continue
            reshape = only_reader(node.outputs[0])
            if reshape is None or reshape.op_type != "Reshape" or reshape.domain:
                continue
            add = only_reader(reshape.outputs[0])
            bias = _bias(node, reshape, add) if add is not None else None
            if add is not None and bias is not None:
                _swap(model.graph, node, reshape, add, bias)
                modified = True
        return ir.passes.PassResult(model, modified)


def _bias(product: ir.Node, reshape: ir.Node, add: ir.Node) -> np.ndarray | None:
    """What an Add gives each column of a product, (columns,); None where it is no bias of it."""
    if add.op_type != "Add" or add.domain or reshape.inputs[0] is not product.outputs[0]:
        return None
    operand = constant(add.inputs[1] if add.inputs[0] is reshape.outputs[0] else add.inputs[0])
    weight, shape = constant(product.inputs[1]), reshape.outputs[0].shape
    if operand is None or weight is None or weight.ndim != 2 or shape is None or operand.dtype != np.float32:
        return None
    columns = weight.shape[0 if product.attributes.get_int("transB", 0) else 1]
    sizes = list(operand.shape)
    while len(sizes) > 1 and sizes[0] == 1:
        del sizes[0]
    last = list(shape[len(shape) - len(sizes) :])
    if operand.size != columns or operand.ndim > len(shape) or last != sizes:
        return None
    return operand.reshape(columns)


def _swap(graph: ir.Graph, product: ir.Node, reshape: ir.Node, add: ir.Node, bias: np.ndarray) -> None:
    result, ended = product.outputs[0], add.outputs[0]
    name = result.name
    summed = ir.node("Add", [result, add_initializer(graph, f"{name}_bias", bias)], name=add.name)
    out = summed.outputs[0]
    out.shape, out.type = result.shape, result.type
    graph.insert_after(product, summed)
    reshape.replace_input_with(0, out)
    result.name, out.name = f"{name}_product", name
    reshaped = reshape.outputs[0]
    reshaped.shape, reshaped.type = ended.shape, ended.type
    wanted, ended.name = ended.name, f"{ended.name}_replaced"
    ended.replace_all_uses_with(reshaped, replace_graph_outputs=True)
    reshaped.name = wanted
    graph.remove(add, safe=True)
