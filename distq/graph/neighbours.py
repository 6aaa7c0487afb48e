"""Operators that run on integers only beside others that do.

Between float operators their quantizers would cost accuracy and two conversions for nothing.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from distq.graph.layers import float_data, has_constant_operand, saturating_follower
from distq.graph.values import constant
from distq.targets.operators import ABSORBING, PICKING

if TYPE_CHECKING:
    import onnx_ir as ir


def depends_on_neighbours(node: ir.Node) -> bool:
    """Whether an operator that has an integer kernel runs on it only beside other integer kernels.

    One that picks values shares the quantizer of its input, which an integer kernel has to write. Arithmetic
    with a constant writes a tensor with a quantizer of its own, which integer kernels alone have to read.
    """
    return not node.domain and (node.op_type in PICKING or has_constant_operand(node))


def stranded(integer: Collection[ir.Node]) -> dict[ir.Node, str]:
    """Those of some nodes that depend on their neighbours and have float ones, each with the reason.

    Args:
        integer: nodes that have integer kernels.
    """
    kept = set(integer)
    reasons: dict[ir.Node, str] = {}
    while True:
        found = {node: why for node in kept if (why := _float_side(node, kept)) is not None}
        if not found:
            return reasons
        reasons |= found
        kept -= found.keys()


def _float_side(node: ir.Node, integer: Collection[ir.Node]) -> str | None:
    if not depends_on_neighbours(node):
        return None
    if not all(constant(value) is not None or _is_written(value, integer) for value in float_data(node)):
        return f"{node.op_type} reads what is computed in float"
    if node.op_type in PICKING:
        return None
    last = _with_follower(node)
    if last.outputs[0].is_graph_output() or not all(use.node in integer for use in last.outputs[0].uses()):
        return f"{node.op_type} with a constant is read in float"
    return None


def _is_written(value: ir.Value, integer: Collection[ir.Node]) -> bool:
    """Whether an integer kernel writes a value, a Relu or Clip behind it included."""
    node = value.producer()
    before = node.inputs[0].producer() if node is not None and node.inputs and node.inputs[0] else None
    return node in integer or (before in integer and before is not None and _with_follower(before) is node)


def _with_follower(node: ir.Node) -> ir.Node:
    """The Relu or Clip that a kernel absorbs; the node itself where there is none."""
    return (saturating_follower(node) if node.op_type in ABSORBING else None) or node
