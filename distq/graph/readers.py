"""What reads a quantized tensor, where ONNX Runtime fuses by who reads what."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from distq.graph.layers import float_name
from distq.targets.operators import ARITHMETIC, CONNECTING

if TYPE_CHECKING:
    import onnx_ir as ir

    from distq.graph.plan import Plan

_MOVING = CONNECTING - ARITHMETIC
"""What ONNX Runtime moves a DequantizeLinear behind."""


def reads_sizes(node: ir.Node, graph: ir.Graph) -> bool:
    """Whether a node of a graph reads the sizes of a tensor alone, which its integers have too.

    Networks with open sizes are full of these, and each would have all values made float for it.
    """
    return node.op_type in {"Shape", "Size"} and not node.domain and node.graph is graph


def read_in_float(uses: Sequence[tuple[ir.Node, int]], plan: Plan) -> frozenset[ir.Node]:
    """Nodes that compute one thing in float from a quantized tensor together, such as a GELU; maybe none.

    ONNX Runtime gives each reader a DequantizeLinear of its own. It fuses a GELU or a normalization where all
    its nodes read one tensor.

    Args:
        uses: readers of the tensor, and which input.
        plan: of the network.
    """
    floats, owners = dict(plan.float_nodes), plan.by_tensor
    found = [
        node
        for node, _ in uses
        if float_name(node) in floats
        and node.op_type not in _MOVING
        and not any(value.name in owners for value in node.outputs)
    ]
    return frozenset(found) if len(found) > 1 else frozenset()
