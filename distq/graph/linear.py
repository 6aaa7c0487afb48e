"""Linear layers of tensors with more than two dimensions: a MatMul, and the Add of its bias behind it.

``graph.passes.linear`` brings every one of them into this form.
"""

from __future__ import annotations

from collections.abc import Container
from typing import TYPE_CHECKING

from distq.graph.values import constant, only_reader
from distq.targets.operators import LAYERS

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    import onnx_ir as ir


def bias_add(node: ir.Node) -> ir.Node | None:
    """The Add behind a MatMul with a constant matrix that alone reads it and gives each column a bias.

    Args:
        node: any.

    Returns:
        None where there is none; its second input is the bias, (columns,).
    """
    if node.op_type != "MatMul" or node.domain:
        return None
    weight, reader = constant(node.inputs[1]), only_reader(node.outputs[0])
    if weight is None or weight.ndim != 2 or reader is None or reader.op_type != "Add" or reader.domain:
        return None
    bias = constant(reader.inputs[1]) if reader.inputs[0] is node.outputs[0] else None
    return reader if bias is not None and bias.shape == weight.shape[1:] else None


def result_of(node: ir.Node) -> ir.Value:
    """What a node writes, with the bias that an Add gives it behind."""
    return (bias_add(node) or node).outputs[0]


def can_write_float(node: ir.Node, able: AbstractSet[str]) -> bool:
    """Whether the integer kernel of a layer is free to write float32.

    That of a Gemm is taken for it where it multiplies the rows of a tensor with more dimensions, as exporters
    write a linear layer of a transformer, and where it is the last layer on its way. Others gate channels. In
    front of a Relu ONNX Runtime would make a FusedGemm of it, which is float (measured with 1.31).

    Args:
        node: of the layer.
        able: operators whose integer kernels can, see :class:`~distq.targets.target.Target`.
    """
    if node.domain or node.op_type not in able:
        return False
    if node.op_type != "Gemm" or _multiplies_rows(node):
        return True
    reader = only_reader(node.outputs[0])
    return is_last_layer(node) and (reader is None or reader.op_type != "Relu")


def is_last_layer(node: ir.Node) -> bool:
    """Whether no compute operator stands behind a layer."""
    waiting = [use.node for value in node.outputs for use in value.uses()]
    seen = set(waiting)
    while waiting:
        reader = waiting.pop()
        if reader.op_type in LAYERS and not reader.domain:
            return False
        more = {use.node for value in reader.outputs for use in value.uses()} - seen
        seen |= more
        waiting += more
    return True


FUSED = "/MatMulAddFusion"
"""Ending of the name of the Gemm that ONNX Runtime makes of a MatMul and the Add of its bias.

(onnxruntime/core/optimizer/matmul_add_fusion.cc of ONNX Runtime 1.31)
"""


def name_before(name: str, given: Container[str]) -> str:
    """The name that a node of the graph that runs has in the exported one.

    Files that ONNX Runtime optimized before have such a Gemm, with its name, already.

    Args:
        name: of the node.
        given: names of the exported graph's nodes.
    """
    return name if name in given else name.removesuffix(FUSED)


def _multiplies_rows(gemm: ir.Node) -> bool:
    """Whether a Gemm reads a tensor of more than two dimensions with all but the last in one."""
    rows = gemm.inputs[0]
    reshape = rows.producer() if rows is not None else None
    if reshape is None or reshape.op_type != "Reshape" or reshape.domain or reshape.inputs[0] is None:
        return False
    before, after = reshape.inputs[0].shape, rows.shape if rows is not None else None
    if before is None or after is None or len(before) < 3 or len(after) != 2:
        return False
    return before[-1] == after[-1] and any(size != 1 for size in before[1:-1])
