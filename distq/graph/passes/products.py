"""Bring products that integer kernels would not take into those that they do."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from distq.graph.edits import add_initializer, new_node, take_over
from distq.graph.values import constant, is_float


class PlainProducts(ir.passes.InPlacePass):
    """Give products of a tensor and constant weights the form that integer kernels have.

    * A Conv or Gemm whose bias is computed, or a Gemm whose bias is a matrix, adds it behind. Its beta is 1.
    * A Gemm that transposes its input gets it from a Transpose.
    * A MatMul with its constant on the left, one matrix, multiplies from the right, between two Transposes.
    * A MatMul of a vector and a matrix multiplies a matrix of one row, between two Reshapes.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrite each such node in place."""
        modified = False
        for node in list(model.graph):
            if node.domain or not all(map(is_float, (*node.inputs[:2], node.outputs[0]))):
                continue
            if node.op_type == "MatMul":
                rewrite = _multiply_one_row if _has_vector(node) else _multiply_from_the_right
                modified |= rewrite(model.graph, node)
            elif node.op_type in {"Conv", "Gemm"} and constant(node.inputs[1]) is not None:
                changed = [_transpose_before(model.graph, node), _add_behind(model.graph, node)]
                modified |= any(changed)
        return ir.passes.PassResult(model, modified)


def _transpose_before(graph: ir.Graph, node: ir.Node) -> bool:
    data = node.inputs[0]
    if node.op_type != "Gemm" or not node.attributes.get_int("transA", 0) or data is None:
        return False
    turned = _transposed(data, [1, 0])
    node.replace_input_with(0, new_node(graph, node, turned, f"{node.outputs[0].name}_turned"))
    node.attributes.pop("transA")
    return True


def _add_behind(graph: ir.Graph, node: ir.Node) -> bool:
    """Take a bias out of a node that integers cannot have, and add it to the result."""
    bias = node.inputs[2] if len(node.inputs) > 2 else None
    if bias is None or not is_float(bias) or (bias.is_graph_input() and bias.is_initializer()):
        return False
    if node.op_type == "Gemm":
        fixed = constant(bias)
        weight = constant(node.inputs[1])
        columns = 0 if weight is None else weight.shape[0 if node.attributes.get_int("transB", 0) else 1]
        by_column = fixed is not None and (fixed.size == 1 or fixed.size == fixed.shape[-1] == columns)
        if by_column or node.attributes.get_float("beta", 1.0) != 1.0:
            return False
    elif constant(bias) is not None:
        return False
    attributes = {name: value for name, value in node.attributes.items() if name != "beta"}
    name = node.outputs[0].name
    product = ir.node(node.op_type, node.inputs[:2], attributes, name=node.name)
    result = new_node(graph, node, product, f"{name}_product")
    if node.op_type == "Conv":
        weight = constant(node.inputs[1])
        rank = 0 if weight is None else weight.ndim
        shape = np.array([1, -1, *[1] * (rank - 2)], np.int64)
        by_channel = add_initializer(graph, f"{name}_bias_shape", shape)
        reshape = ir.node("Reshape", [bias, by_channel])
        bias = new_node(graph, node, reshape, f"{name}_bias")
    add = ir.node("Add", [result, bias], name=f"Add_{name}")
    graph.insert_before(node, add)
    take_over(add.outputs[0], node)
    return True


def _has_vector(node: ir.Node) -> bool:
    return any(v is not None and v.shape is not None and len(v.shape) == 1 for v in node.inputs)


def _multiply_one_row(graph: ir.Graph, node: ir.Node) -> bool:
    side = 1 if constant(node.inputs[0]) is None else 0
    weight, data = constant(node.inputs[side]), node.inputs[1 - side]
    if weight is None or weight.ndim != 2 or data is None or constant(data) is not None:
        return False
    name = node.outputs[0].name
    matrix = np.ascontiguousarray(weight if side else weight.T)
    right = node.inputs[1] if side else add_initializer(graph, f"{name}_right", matrix)
    row = new_node(graph, node, _reshaped(graph, data, [1, len(matrix)]), f"{name}_as_row")
    row.shape = ir.Shape([1, len(matrix)])
    product = new_node(graph, node, ir.node("MatMul", [row, right], name=node.name), f"{name}_row")
    product.shape = ir.Shape([1, matrix.shape[1]])
    behind = _reshaped(graph, product, [matrix.shape[1]])
    behind.name = f"Reshape_{name}"
    graph.insert_before(node, behind)
    take_over(behind.outputs[0], node)
    return True


def _multiply_from_the_right(graph: ir.Graph, node: ir.Node) -> bool:
    weight, data = constant(node.inputs[0]), node.inputs[1]
    if weight is None or weight.ndim < 2 or data is None or constant(data) is not None or data.shape is None:
        return False
    rank = len(data.shape)
    if rank < weight.ndim or any(size != 1 for size in weight.shape[:-2]):
        return False
    weight = weight.reshape(weight.shape[-2:])
    order = [*range(rank - 2), rank - 1, rank - 2]
    name = node.outputs[0].name
    right = add_initializer(graph, f"{name}_right", np.ascontiguousarray(weight.T))
    before = new_node(graph, node, _transposed(data, order), f"{name}_turned")
    multiply = ir.node("MatMul", [before, right], name=node.name)
    product = new_node(graph, node, multiply, f"{name}_product")
    behind = _transposed(product, order)
    behind.name = f"Transpose_{name}"
    if (shape := node.outputs[0].shape) is not None:
        product.shape = ir.Shape([shape[axis] for axis in order])
        before.shape = ir.Shape([data.shape[axis] for axis in order])
    graph.insert_before(node, behind)
    take_over(behind.outputs[0], node)
    return True


def _transposed(value: ir.Value, order: list[int]) -> ir.Node:
    return ir.node("Transpose", [value], {"perm": order})


def _reshaped(graph: ir.Graph, value: ir.Value, shape: list[int]) -> ir.Node:
    sizes = add_initializer(graph, f"{value.name}_shape", np.array(shape, np.int64))
    return ir.node("Reshape", [value, sizes])
