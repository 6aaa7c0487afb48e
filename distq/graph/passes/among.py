"""Where an operator stands: among those that run on integers, as their types tell before a plan is made."""

from __future__ import annotations

from collections.abc import Collection

import onnx_ir as ir

from distq.graph.groups import one_operation
from distq.graph.layers import is_gate
from distq.graph.roles import leading
from distq.graph.values import constant, reads
from distq.targets.operators import ARITHMETIC, CONNECTING, LAYERS

_RUN_ON_INTEGERS = LAYERS | CONNECTING | {"BatchNormalization", "Clip", "Relu", "Sum"}
"""Operators that run on integers, or become such that do."""

_BY_CONSTANTS = frozenset({"Sub", "Div"})
"""Operators that become such with a constant."""


def between_layers(graph: ir.Graph) -> set[ir.Node]:
    """Nodes that depend on a compute layer, and that one depends on."""
    nodes = list(graph)
    layers = {node for node in nodes if node.op_type in LAYERS and not node.domain}
    reached: set[ir.Node] = set()
    for node in nodes:
        writers = {v.producer() for v in reads(node)}
        if not (writers.isdisjoint(layers) and writers.isdisjoint(reached)):
            reached.add(node)
    return reached & leading(nodes, layers)


def in_groups(graph: ir.Graph) -> set[ir.Node]:
    """Nodes that together are one operation in float."""
    nodes = list(graph)
    return one_operation(nodes, {node for node in nodes if node.op_type in LAYERS and not node.domain})


def among_integers(node: ir.Node, grouped: Collection[ir.Node] = ()) -> bool:
    """Whether integer kernels write what a node reads, constants left out, and read what it writes.

    Args:
        node: any.
        grouped: nodes that count as float; :func:`in_groups` gives them.
    """
    return _written_on_integers(node, grouped) and _read_on_integers(node, grouped)


def _written_on_integers(node: ir.Node, grouped: Collection[ir.Node]) -> bool:
    """Whether integer kernels write what a node reads, also through arithmetic with constants."""
    writers = [v.producer() for v in node.inputs if v is not None and constant(v) is None]
    return all(
        n is not None
        and n not in grouped
        and _runs_on_integers(n)
        and (not _has_constant(n) or _written_on_integers(n, grouped))
        for n in writers
    )


def _read_on_integers(node: ir.Node, grouped: Collection[ir.Node]) -> bool:
    value = node.outputs[0]
    readers = [use.node for use in value.uses()]
    if value.is_graph_output() or not readers:
        return False
    return all(
        n not in grouped and _runs_on_integers(n) and (not _has_constant(n) or _read_on_integers(n, grouped))
        for n in readers
    )


def _has_constant(node: ir.Node) -> bool:
    """Whether a node is arithmetic with a constant, which runs on integers as far as its neighbours do."""
    return node.op_type in ARITHMETIC | _BY_CONSTANTS and any(constant(v) is not None for v in node.inputs)


def _runs_on_integers(node: ir.Node) -> bool:
    if node.op_type in _BY_CONSTANTS and not _has_constant(node):
        return False
    known = _RUN_ON_INTEGERS | _BY_CONSTANTS
    return node.op_type in known and not node.domain and not is_gate(node)
