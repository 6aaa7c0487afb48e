"""Values that the graphs inside If, Loop and Scan read from the graph around them, in a QDQ model."""

from __future__ import annotations

from collections.abc import Callable

import onnx_ir as ir

from distq.graph.values import values_of
from distq.targets.operators import PASS_THROUGH

_MOVED = PASS_THROUGH | {"Cast", "Dropout", "Identity"}
"""What ONNX Runtime moves a DequantizeLinear behind, or removes."""


def separate_captured(graph: ir.Graph, name_of: Callable[[str], str]) -> None:
    """Put a Max of one input between a dequantized value that was passed on and the inner graphs reading it.

    ONNX Runtime moves a DequantizeLinear behind a Reshape, a Slice and the like, for every reader of these.
    It takes a reader for a position among the node's inputs, and one inside a subgraph has none: the process
    ends. A Max stops it; an Identity is removed before.
    (onnxruntime/core/optimizer/qdq_transformer/qdq_propagation.cc of ONNX Runtime 1.31)

    Args:
        graph: of a model with quantizers, changed in place.
        name_of: a free name for what is read inside, from the value's name.
    """
    for value in values_of(graph):
        inner = [(use.node, use.idx) for use in value.uses() if use.node.graph is not graph]
        if not inner or not _is_passed_on(value):
            continue
        same = ir.node("Max", [value], name=name_of(value.name or ""))
        same.outputs[0].name = name_of(value.name or "")
        same.outputs[0].shape, same.outputs[0].type = value.shape, value.type
        for node, position in inner:
            node.replace_input_with(position, same.outputs[0])
        graph.append(same)


def _is_passed_on(value: ir.Value) -> bool:
    """Whether a value is a dequantized one in another order or shape, or a part of it."""
    node, passes = value.producer(), 0
    while node is not None and not node.domain and node.op_type in _MOVED and node.inputs[0] is not None:
        node, passes = node.inputs[0].producer(), passes + 1
    return passes > 0 and node is not None and node.op_type == "DequantizeLinear"
