"""Which nodes in float read a tensor as it was before its quantizer."""

from __future__ import annotations

from collections.abc import Collection
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING

from distq.graph.layers import saturating_follower
from distq.graph.linear import can_write_float, result_of
from distq.graph.neighbours import keeps_float
from distq.graph.roles import Roles

if TYPE_CHECKING:
    import onnx_ir as ir


def float_reads(
    roles: Roles, tensors: Collection[ir.Value], able: AbstractSet[str]
) -> frozenset[tuple[str, str]]:
    """Nodes in float and the tensors that they read in front of a quantizer, both by name.

    What is computed in float is rounded for integer kernels alone: a residual sum of a transformer, or a
    spectrum whose logarithm is taken beside a layer that reads it. What an integer kernel has to write has no
    float form. An output of the network that has one keeps it; no node is named then.

    Args:
        roles: of the nodes.
        tensors: those that have a quantizer.
        able: operators whose integer kernels can write float.
    """
    wide = [value for value in tensors if _has_float_form(value, roles, able)]
    reads = {
        (use.node.name or "", v.name or "") for v in wide for use in v.uses() if use.node in roles.reasons
    }
    return frozenset(reads | {("", v.name or "") for v in wide if v.is_graph_output()})


def _has_float_form(value: ir.Value, roles: Roles, able: AbstractSet[str]) -> bool:
    """Whether a value is given in float, or a node in float writes it, or a kernel that can write float."""
    node = value.producer()
    if node is None:
        return value.is_graph_input()
    data = node.inputs[0] if node.inputs else None
    before = None if data is None else data.producer()
    if node in roles.layers or (before in roles.layers and before is not None and result_of(before) is value):
        return can_write_float(node if node in roles.layers else before or node, able)
    if node not in roles.reasons:
        return False
    return not any(
        saturating_follower(layer) is node and not keeps_float(layer, roles.integer, able)
        for layer in _above(node)
    )


def _above(node: ir.Node) -> list[ir.Node]:
    """The nodes that may absorb a Relu or Clip: what writes its input, and what writes the first of that."""
    found: list[ir.Node] = []
    before: ir.Node | None = node
    for _ in range(2):
        data = before.inputs[0] if before is not None and before.inputs else None
        before = None if data is None else data.producer()
        if before is not None:
            found.append(before)
    return found
