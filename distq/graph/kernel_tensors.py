"""The tensors between integer kernels, and which of them share a quantizer."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import TYPE_CHECKING

from distq.graph.layers import clip_bounds, passes_values
from distq.graph.linear import is_last_layer, result_of
from distq.graph.neighbours import follower_of, keeps_float
from distq.graph.roles import Roles, data_of
from distq.targets.operators import PASS_THROUGH
from distq.targets.target import ConcatRule, Scheme

if TYPE_CHECKING:
    import onnx_ir as ir


@dataclass(frozen=True)
class Around:
    """The tensors around integer kernels.

    Attributes:
        tensors: that are quantized.
        ties: pairs of them that share a quantizer.
        between: each Relu and Clip that runs between two quantizers.
    """

    tensors: Collection[ir.Value]
    ties: Sequence[tuple[ir.Value, ir.Value]]
    between: Collection[ir.Node]


def kernel_tensors(
    roles: Roles,
    followers: Mapping[ir.Node, ir.Node],
    scheme: Scheme,
    concat: ConcatRule,
    able: AbstractSet[str],
) -> Around:
    """What integer kernels read and write, which of these share a quantizer, and what stays between two.

    A Relu or Clip behind a kernel is part of it where zero is the least integer. With a symmetric range it
    is not, nor where its output shares the range of a Concat that has no such bound. It then runs between two
    quantizers of the same range.

    Args:
        roles: of the nodes.
        followers: the Relu or Clip behind each kernel that can absorb it.
        scheme: of the ranges.
        concat: whether inputs of a Concat share its quantizer.
        able: operators whose integer kernels can write float.
    """
    tensors: set[ir.Value] = set()
    ties: list[tuple[ir.Value, ir.Value]] = []
    unbounded: set[ir.Value] = set()
    for node in roles.integer:
        if node.op_type == "Concat":
            inputs = data_of(node, roles)
            tied = _tied_inputs(inputs, concat)
            ties += [(node.outputs[0], v) for v in tied]
            if len({bounds_of(v) for v in inputs}) > 1:
                unbounded.update(tied)
    between: set[ir.Node] = set()
    for node in roles.integer:
        inputs = data_of(node, roles)
        follower = followers.get(node)
        output = result_of(node) if follower is None else follower.outputs[0]
        tensors.update(inputs)
        if node.op_type not in PASS_THROUGH and not keeps_float(node, roles.integer, able):
            tensors.add(output)
        if follower is not None and (scheme == "symmetric" or _leads_to(output, unbounded)):
            between.add(follower)
            tensors.add(result_of(node))
            ties.append((output, result_of(node)))
        if node.op_type in PASS_THROUGH:
            others = [v for v in node.outputs if v.uses() or v.is_graph_output()]
            tensors.update(others)
            ties += [(inputs[0], v) for v in others]
    return Around(tensors, ties, between)


def last_floats(roles: Roles, able: AbstractSet[str]) -> set[ir.Value]:
    """What the last layers write in float, behind the Relu or Clip that hardware takes for a part of them.

    Args:
        roles: of the nodes.
        able: operators whose integer kernels can write float.
    """
    last = [node for node in roles.layers if is_last_layer(node) and keeps_float(node, roles.integer, able)]
    return {follower_of(node).outputs[0] for node in last}


def _tied_inputs(inputs: Sequence[ir.Value], concat: ConcatRule) -> list[ir.Value]:
    """Inputs of a Concat that take its quantizer: those that nothing else reads."""
    alike = len({bounds_of(v) for v in inputs}) == 1
    if concat == "requantize" or (concat == "auto" and not alike):
        return []
    return [v for v in inputs if len(v.uses()) == 1 and not v.is_graph_input() and not v.is_graph_output()]


def _leads_to(value: ir.Value, tied: set[ir.Value]) -> bool:
    """Whether a value, or what operators that only pass values on make of it, is among those tied."""
    if value in tied:
        return True
    passed = [use.node for use in value.uses() if passes_values(use.node) and use.idx == 0]
    return any(_leads_to(v, tied) for node in passed for v in node.outputs)


def bounds_of(value: ir.Value) -> tuple[float, float] | None:
    """Bounds a Relu or Clip from zero gives a tensor, also through operators that only pass values on."""
    node = value.producer()
    if node is None or node.domain:
        return None
    if (found := clip_bounds(node)) is not None:
        return found if found[0] >= 0.0 else None
    if passes_values(node) and node.inputs[0] is not None:
        return bounds_of(node.inputs[0])
    if node.op_type == "Concat":
        all_bounds = {bounds_of(v) for v in node.inputs if v is not None}
        return all_bounds.pop() if len(all_bounds) == 1 else None
    return None
