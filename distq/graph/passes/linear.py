"""Bring linear layers of tensors with more than two dimensions into one form: MatMul, and Add of a bias."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from distq.graph.edits import add_initializer, new_node, take_over
from distq.graph.linear import bias_add
from distq.graph.passes.affine import factor_and_offset
from distq.graph.values import constant, is_float, only_reader

Floats = npt.NDArray[np.float64]


class PlainLinear(ir.passes.InPlacePass):
    """MatMul with a constant matrix gets an Add of one bias a column, which bias correction can change.

    * Leading dimensions of size 1 of the matrix are dropped where the tensor has as many.
    * Add, Sub, Mul and Div by constants behind it are folded into its weights and bias, as FoldAffine does
      for Gemm. The constant is one number, or has one value a column.
    * The Add keeps the name of the last of these: the layer's name in the user's model. Where the MatMul has
      no bias it is of zeros, and the MatMul's name is the Add's.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrite each such node in place."""
        modified = False
        for node in list(model.graph):
            if node.op_type != "MatMul" or node.domain or not all(map(is_float, node.inputs)):
                continue
            weight = _matrix(node)
            if weight is None or (bias_add(node) is not None and not _followed(node)):
                continue
            _rewrite(model.graph, node, weight)
            modified = True
        return ir.passes.PassResult(model, modified)


def _matrix(node: ir.Node) -> npt.NDArray[np.float32] | None:
    """The finite weights of a MatMul of a tensor, (inputs, columns)."""
    data, weight = node.inputs[0], constant(node.inputs[1])
    if data is None or constant(data) is not None or weight is None or weight.dtype != np.float32:
        return None
    if weight.ndim < 2 or not np.isfinite(weight).all():
        return None
    if weight.ndim > 2 and (
        data.shape is None or len(data.shape) < weight.ndim or any(size != 1 for size in weight.shape[:-2])
    ):
        return None
    return weight.reshape(weight.shape[-2:])


def _followed(node: ir.Node) -> bool:
    """Whether something more can be folded into a linear layer behind its bias."""
    add = bias_add(node)
    reader = only_reader(add.outputs[0]) if add is not None else None
    weight = constant(node.inputs[1])
    if add is None or reader is None or weight is None:
        return False
    return _affine(add.outputs[0], reader, weight.shape[-1]) is not None


def _rewrite(graph: ir.Graph, node: ir.Node, weight: npt.NDArray[np.float32]) -> None:
    columns = weight.shape[1]
    scale, shift = np.ones(columns), np.zeros(columns)
    last = node
    while (reader := only_reader(last.outputs[0])) is not None:
        found = _affine(last.outputs[0], reader, columns)
        if found is None:
            break
        with np.errstate(over="ignore", invalid="ignore"):
            folded = scale * found[0], shift * found[0] + found[1]
            parts = (weight * folded[0], folded[1])
            if not all(np.isfinite(part.astype(np.float32)).all() for part in parts):
                break
        (scale, shift), last = folded, reader
    name = last.outputs[0].name
    matrix = node.inputs[1]
    if not (scale == 1.0).all() or (matrix is not None and matrix.shape != ir.Shape(weight.shape)):
        matrix = add_initializer(graph, f"{name}_weight", (weight * scale).astype(np.float32))
    bias = add_initializer(graph, f"{name}_bias", shift.astype(np.float32))
    multiply = ir.node("MatMul", [node.inputs[0], matrix], name=node.name or f"MatMul_{name}")
    product = new_node(graph, node, multiply, f"{name}_product")
    product.shape, product.type = node.outputs[0].shape, node.outputs[0].type
    add = ir.node("Add", [product, bias], name=f"Add_{name}" if last is node else last.name)
    graph.insert_before(node, add)
    replaced = [node]
    while replaced[-1] is not last:
        replaced.append(_reader(replaced[-1]))
    take_over(add.outputs[0], last)
    for one in reversed(replaced[:-1]):
        graph.remove(one, safe=True)


def _reader(node: ir.Node) -> ir.Node:
    (use,) = node.outputs[0].uses()
    return use.node


def _affine(data: ir.Value, follower: ir.Node, columns: int) -> tuple[Floats, Floats] | None:
    """Factor and offset, each (columns,), that a node gives what it reads; None for any other node."""
    if follower.domain or follower.op_type not in {"Add", "Sub", "Mul", "Div"} or len(follower.inputs) != 2:
        return None
    position = 1 if follower.inputs[0] is data else 0
    operand = constant(follower.inputs[position])
    values = None if operand is None else _by_column(operand, data, columns)
    if values is None or (follower.op_type == "Div" and (position == 0 or not values.all())):
        return None
    return factor_and_offset(follower.op_type, position, values)


def _by_column(operand: np.ndarray, data: ir.Value, columns: int) -> Floats | None:
    """A constant of one number, or of one value a column, as (columns,); None for any other.

    One with more dimensions than the tensor would give the result more of them.
    """
    if operand.dtype != np.float32 or operand.size not in {1, columns} or not np.isfinite(operand).all():
        return None
    rank = 1 if data.shape is None else len(data.shape)
    if operand.ndim > rank or (operand.ndim and operand.shape[-1] != operand.size):
        return None
    if columns == 1 and operand.size != 1:
        return None
    return np.broadcast_to(operand.reshape(-1).astype(np.float64), (columns,)).copy()
