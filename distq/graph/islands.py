"""Float islands: which nodes lie before, behind or between the layers that a user names."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from distq.graph.layers import saturating_follower
from distq.graph.linear import bias_add
from distq.graph.values import constant, reads
from distq.targets.operators import ABSORBING

if TYPE_CHECKING:
    import onnx_ir as ir


def before(node: ir.Node) -> list[ir.Node]:
    """A node and all that it depends on, its absorbed Relu or Clip included."""
    found = {node: None}
    todo = [node]
    while todo:
        for value in reads(todo.pop()):
            producer = value.producer()
            if producer is not None and producer not in found:
                found[producer] = None
                todo.append(producer)
    return [*found, *_follower(node)]


def behind(node: ir.Node) -> list[ir.Node]:
    """A node and all that depends on it."""
    return _reached(node, None)


def block(node: ir.Node, integer: Collection[ir.Node]) -> list[ir.Node]:
    """A node and all behind it, on every way up to the next that is computed in float anyway.

    Args:
        node: where it begins.
        integer: nodes that would run on integers; a Relu or Clip that one absorbs is part of it.
    """
    return _reached(node, {*integer, *(f for n in integer for f in _follower(n))})


def is_depthwise(node: ir.Node) -> bool:
    """Whether a node is a Conv each of whose outputs reads one channel of several."""
    weight = constant(node.inputs[1]) if node.op_type == "Conv" and len(node.inputs) > 1 else None
    if node.domain or weight is None or weight.ndim < 3:
        return False
    return node.attributes.get_int("group", 1) > 1 and weight.shape[1] == 1


def has_own_channels(node: ir.Node) -> bool:
    """Whether a node is a depthwise Conv with one output a channel, which kernels of their own compute."""
    weight = constant(node.inputs[1]) if is_depthwise(node) else None
    return weight is not None and weight.shape[0] == node.attributes.get_int("group", 1)


def _reached(node: ir.Node, within: Collection[ir.Node] | None) -> list[ir.Node]:
    found = {node: None}
    todo = [node, *_follower(node)]
    found.update(dict.fromkeys(todo))
    while todo:
        for value in todo.pop().outputs:
            for use in value.uses():
                if use.node not in found and (within is None or use.node in within):
                    found[use.node] = None
                    todo.append(use.node)
    return list(found)


def _follower(node: ir.Node) -> list[ir.Node]:
    """What else is part of a node's integer kernel: the Add of its bias, and a Relu or Clip."""
    follower = saturating_follower(node) if node.op_type in ABSORBING and not node.domain else None
    return [part for part in (bias_add(node), follower) if part is not None]
