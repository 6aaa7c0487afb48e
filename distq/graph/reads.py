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

NORMALIZATIONS = frozenset({"LayerNormalization", "RMSNormalization", "SimplifiedLayerNormalization"})
"""Operators that read the residual sums of a transformer."""


def float_reads(
    roles: Roles, tensors: Collection[ir.Value], able: AbstractSet[str]
) -> frozenset[tuple[str, str]]:
    """Nodes and the tensors that they read in front of a quantizer, both by name.

    A residual sum of a transformer that is computed in float is not rounded where a layer reads one of its
    parts too; nor is what a normalization reads. What an integer kernel has to write has no float form.

    Args:
        roles: of the nodes.
        tensors: those that have a quantizer.
        able: operators whose integer kernels can write float.
    """
    return frozenset(
        (use.node.name or "", value.name or "")
        for value in tensors
        if _has_float_form(value, roles, able)
        for use in value.uses()
        if use.node in roles.unrounded or use.node.op_type in NORMALIZATIONS
    )


def _has_float_form(value: ir.Value, roles: Roles, able: AbstractSet[str]) -> bool:
    """Whether a node in float writes a value, or a kernel that can write float."""
    node = value.producer()
    if node is None:
        return False
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
