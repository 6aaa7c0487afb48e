"""What names of the user's file mean in the network that distq works on, where they are no longer in it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import onnx
import onnx_ir as ir

from distq.graph.values import values_of

FOLDED = frozenset({"BatchNormalization", "Mul", "Add", "Sub", "Div"})
"""Operators that may have become a part of the layer in front of them."""


def outline(proto: onnx.ModelProto) -> list[onnx.NodeProto]:
    """The nodes of a model as the user wrote them, without what they hold: loading changes them."""
    return [
        onnx.NodeProto(op_type=node.op_type, name=node.name, input=node.input, output=node.output)
        for node in proto.graph.node
    ]


def aliases(nodes: Sequence[onnx.NodeProto], model: ir.Model) -> dict[str, str]:
    """Names of nodes and tensors that are gone, each with the name of what stands in their place.

    A node that is gone is what writes its output. A tensor that is gone is the layer that wrote it, or what
    the normalization behind it, folded into that layer, writes.

    Args:
        nodes: of the user's file, as :func:`outline` gives them.
        model: in canonical form.
    """
    tensors = {value.name for value in values_of(model.graph)}
    there = tensors | {node.name for node in model.graph}
    readers = Counter(name for node in nodes for name in node.input)
    behind = {name: node for node in nodes if node.op_type in FOLDED for name in node.input}
    found: dict[str, str] = {}

    def stands_for(node: onnx.NodeProto) -> str | None:
        output = str(node.output[0])
        if output in tensors:
            return output
        if node.name and node.name in there:
            return str(node.name)
        return found.get(output)

    for node in reversed(nodes):
        output = node.output[0] if node.output else ""
        if output and output not in there:
            reader = behind.get(output) if readers[output] == 1 else None
            own = stands_for(node) or (stands_for(reader) if reader is not None else None)
            if own is not None:
                found[output] = own
        if node.name and node.name not in there and output and (own := stands_for(node)) is not None:
            found[node.name] = own
    return found
