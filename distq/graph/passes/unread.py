"""Channels that nobody reads, as pruning leaves them behind."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from distq.graph.edits import add_initializer
from distq.graph.islands import has_own_channels
from distq.graph.values import constant

Flags = npt.NDArray[np.bool_]

_BY_CHANNEL = frozenset(
    {
        "AveragePool",
        "Clip",
        "Elu",
        "GlobalAveragePool",
        "GlobalMaxPool",
        "HardSigmoid",
        "HardSwish",
        "LeakyRelu",
        "MaxPool",
        "Relu",
        "Sigmoid",
        "Tanh",
    }
)
"""Operators whose output channels each depend on the same channel of the first input alone."""

_BY_ELEMENT = frozenset({"Add", "Mul", "Sub"})
"""The same of all inputs, where these have the sizes of the output."""


class EmptyUnread(ir.passes.InPlacePass):
    """Set weights and biases to zero that write channels which nobody reads.

    A channel is unread where all weights that multiply it are zero. Whatever it holds, even a large constant,
    changes no output, but would have its part in the range that all channels of the tensor share.

    * A Conv or Gemm with constant weights writes it, maybe with activations, pools, sums and depthwise
      convolutions behind.
    * Conv without groups and Gemm alone read the end of that.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """One walk; none where no weights are zero for a whole channel."""
        nodes = list(model.graph)
        if not any((read := _read(node)) is not None and not read.all() for node in nodes):
            return ir.passes.PassResult(model, modified=False)
        modified = False
        for node in nodes:
            unread = _unread(node)
            if unread is not None and unread.any():
                modified |= _empty(model.graph, node, unread)
        return ir.passes.PassResult(model, modified)


def _read(node: ir.Node) -> Flags | None:
    """Which channels of its first input a layer multiplies by more than zeros; None for other nodes."""
    if node.domain or node.op_type not in {"Conv", "Gemm"}:
        return None
    weight = constant(node.inputs[1])
    groups, turned = node.attributes.get_int("group", 1), node.attributes.get_int("transA", 0)
    if weight is None or groups != 1 or turned:
        return None
    axis = 0 if node.op_type == "Gemm" and not node.attributes.get_int("transB", 0) else 1
    found: Flags = (weight != 0).any(axis=tuple(i for i in range(weight.ndim) if i != axis))
    return found


def _unread(node: ir.Node) -> Flags | None:
    """Which channels of a layer's output nobody reads; None where that cannot be told."""
    if node.domain or node.op_type not in {"Conv", "Gemm"} or constant(node.inputs[1]) is None:
        return None
    reached, read = {node.outputs[0]}, None
    waiting = list(reached)
    while waiting:
        value = waiting.pop()
        if value.is_graph_output():
            return None
        for use in value.uses():
            found = _read(use.node) if use.idx == 0 and use.node.graph is node.graph else None
            if found is not None:
                read = found if read is None else read | found
            elif _keeps_channels(use.node, use.idx, value):
                new = use.node.outputs[0]
                waiting += [new] if new not in reached else []
                reached.add(new)
            else:
                return None
    return None if read is None else ~read


def _keeps_channels(node: ir.Node, position: int, value: ir.Value) -> bool:
    """Whether each channel of what a node writes depends on no other channel of a value."""
    if node.domain or node.graph is not value.graph:
        return False
    if node.op_type == "Conv":
        return position == 0 and has_own_channels(node)
    if node.op_type in _BY_CHANNEL:
        return position == 0 and not any(v.uses() or v.is_graph_output() for v in node.outputs[1:])
    return node.op_type in _BY_ELEMENT and value.shape is not None and value.shape == node.outputs[0].shape


def _empty(graph: ir.Graph, node: ir.Node, unread: Flags) -> bool:
    """Give a layer weights and a bias without what it writes to unread channels."""
    by_column = node.op_type == "Gemm" and not node.attributes.get_int("transB", 0)
    changed = False
    for position in range(1, len(node.inputs)):
        value = node.inputs[position]
        array = constant(value)
        if value is None or array is None:
            continue
        axis = array.ndim - 1 if position > 1 or by_column else 0
        if array.ndim == 0 or array.shape[axis] != len(unread):
            continue
        array = np.moveaxis(array.copy(), axis, 0)
        array[unread] = 0
        name = f"{value.name}_read"
        node.replace_input_with(position, add_initializer(graph, name, np.moveaxis(array, 0, axis)))
        changed = True
    return changed
