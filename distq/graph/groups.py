"""Nodes that together are one operation on one tensor: a normalization, GELU, HardSwish and their kind.

Exporters write such an operation as many nodes. Each of them alone may have an integer kernel, but 8 bits of
what lies between them, such as a variance or x + x^3, cost far more accuracy than 8 bits of the result.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from distq.graph.layers import ACTIVATIONS, is_gate
from distq.graph.values import constant, is_float, reads
from distq.targets.operators import ARITHMETIC, AVERAGES, CONNECTING

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    import onnx_ir as ir

MOST_NODES = 40
"""Of one operation; a Softmax or GELU written out has about ten."""

_JOINING = ARITHMETIC | {"Sub", "Div", "Where", "Max", "Min"}
"""What may put together several things that were computed of one tensor."""


def one_operation(nodes: Sequence[ir.Node], layers: Collection[ir.Node]) -> set[ir.Node]:
    """Nodes that compute one function of one tensor together, which no integer kernel computes.

    A group begins at a tensor and ends where all that was computed of it comes together again: in an Add,
    Mul, Sub or Div. It holds no layer. A product of a tensor and a function of it is one. Where the parts are
    added or subtracted, some node between has no integer kernel: a sum of two poolings is none.

    What multiplies a tensor by its own activation is left out: an ONNX Runtime kernel or the placement of its
    quantizers is known.

    Args:
        nodes: of a graph, in its order.
        layers: those that have weights or multiply two tensors.
    """
    dominators = _Dominators(nodes, layers)
    found: set[ir.Node] = set()
    for node in nodes:
        if node.domain or node.op_type not in _JOINING or is_gate(node):
            continue
        read = dominators.data(node)
        if len([v for v in node.inputs if v in read]) < 2:
            continue
        source = dominators.of(node.outputs[0])
        inside = None if source is None else _between(source, node, layers, dominators)
        if inside is not None and _is_one(inside, node):
            found |= inside
    return found


def _is_one(inside: Collection[ir.Node], last: ir.Node) -> bool:
    known = CONNECTING | ACTIVATIONS
    if any(n.op_type not in known or n.domain for n in inside):
        return True
    return last.op_type == "Mul" and not any(n.op_type in AVERAGES for n in inside)


def _between(
    source: ir.Value, last: ir.Node, layers: Collection[ir.Node], dominators: _Dominators
) -> set[ir.Node] | None:
    """The nodes on the way from a value to a node, that node included; None: too many, or a layer."""
    found, todo = {last}, [last]
    while todo:
        for value in dominators.data(todo.pop()):
            node = value.producer()
            if value is source or node is None or node in found:
                continue
            if node in layers or len(found) == MOST_NODES:
                return None
            found.add(node)
            todo.append(node)
    return found


def _data(node: ir.Node) -> list[ir.Value]:
    """The float tensors that a node computes with; shapes and constants left out."""
    return [v for v in reads(node) if is_float(v) and constant(v) is None]


class _Dominators:
    """For each value the nearest one that all of it is computed of.

    Behind a layer, what comes from before all layers counts as a constant: the angles of a rotary embedding
    are computed from positions that the network is given.
    """

    def __init__(self, nodes: Sequence[ir.Node], layers: Collection[ir.Node]) -> None:
        self._above: dict[ir.Value, ir.Value | None] = {}
        self._depth: dict[ir.Value | None, int] = {None: 0}
        self._behind: set[ir.Value] = set()
        for node in nodes:
            data = self.data(node)
            if node in layers or not self._behind.isdisjoint(data):
                self._behind.update(node.outputs)
            common: ir.Value | None = data[0] if data else None
            for value in data[1:]:
                common = self._common(common, value)
            for value in node.outputs:
                self._above[value] = common
                self._depth[value] = self._depth_of(common) + 1

    def data(self, node: ir.Node) -> list[ir.Value]:
        """The float tensors that a node computes with; behind a layer those that are behind one too."""
        data = _data(node)
        return [value for value in data if value in self._behind] or data

    def of(self, value: ir.Value) -> ir.Value | None:
        """Of a value that a node writes; None where several inputs of the network come together."""
        return self._above[value]

    def _depth_of(self, value: ir.Value | None) -> int:
        return self._depth.get(value, 1)

    def _common(self, a: ir.Value | None, b: ir.Value | None) -> ir.Value | None:
        while a is not b:
            if self._depth_of(a) < self._depth_of(b):
                a, b = b, a
            a = None if a is None else self._above.get(a)
        return a
