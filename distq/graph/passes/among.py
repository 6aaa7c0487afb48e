"""Where an operator stands: among those that run on integers, as their types tell before a plan is made."""

from __future__ import annotations

import onnx_ir as ir

from distq.graph.layers import is_gate
from distq.graph.roles import leading
from distq.graph.values import constant, reads
from distq.targets.operators import CONNECTING, LAYERS

_RUN_ON_INTEGERS = LAYERS | CONNECTING | {"BatchNormalization", "Clip", "Relu", "Sub", "Sum", "Div"}
"""Operators that run on integers, or become such that do."""


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


def among_integers(node: ir.Node) -> bool:
    """Whether integer kernels write what a node reads, constants left out, and read what it writes."""
    value = node.outputs[0]
    writers = [v.producer() for v in node.inputs if v is not None and constant(v) is None]
    readers = [use.node for use in value.uses()]
    if value.is_graph_output() or not readers:
        return False
    return all(n is not None and _runs_on_integers(n) for n in (*writers, *readers))


def _runs_on_integers(node: ir.Node) -> bool:
    return node.op_type in _RUN_ON_INTEGERS and not node.domain and not is_gate(node)
