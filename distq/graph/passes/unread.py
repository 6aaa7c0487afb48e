"""Channels that nobody reads, as pruning leaves them behind."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from distq.graph.edits import add_initializer
from distq.graph.islands import has_own_channels
from distq.graph.linear import bias_add, result_of
from distq.graph.values import constant

Flags = npt.NDArray[np.bool_]

_LAYERS = frozenset({"Conv", "Gemm", "MatMul"})
_MATRIX = 2

_ACTIVATIONS = frozenset(
    {"Clip", "Elu", "Erf", "Gelu", "HardSigmoid", "HardSwish", "LeakyRelu", "Relu", "Sigmoid", "Tanh"}
)
"""Operators of single elements of the first input."""

_POOLS = frozenset({"AveragePool", "GlobalAveragePool", "GlobalMaxPool", "MaxPool"})
"""Operators of single channels."""

_RESHAPES = frozenset({"Flatten", "Reshape", "Squeeze", "Unsqueeze"})

_BY_ELEMENT = frozenset({"Add", "Mul", "Sub"})
"""The same of all inputs, where these have the sizes of the output."""


@dataclass(frozen=True)
class _Reached:
    """A tensor that holds the channels which a layer writes.

    Attributes:
        value: the tensor.
        axis: along which they lie.
        entries: of that axis that each channel has, one behind the other.
    """

    value: ir.Value
    axis: int
    entries: int = 1


class EmptyUnread(ir.passes.InPlacePass):
    """Set weights and biases to zero that write channels which nobody reads.

    A channel is unread where all weights that multiply it are zero. Whatever it holds, even a large constant,
    changes no output, but would have its part in the range that all channels of the tensor share.

    * A Conv, Gemm or MatMul with constant weights writes it, maybe with activations, pools, sums, depthwise
      convolutions and a Flatten or Reshape behind.
    * Conv without groups, Gemm and MatMul alone read the end of that.
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
    if node.domain or node.op_type not in _LAYERS:
        return None
    weight = constant(node.inputs[1])
    groups, turned = node.attributes.get_int("group", 1), node.attributes.get_int("transA", 0)
    if weight is None or groups != 1 or turned or (node.op_type == "MatMul" and weight.ndim != _MATRIX):
        return None
    outputs_first = node.op_type == "Conv" or bool(node.attributes.get_int("transB", 0))
    axis = 1 if outputs_first else 0
    found: Flags = (weight != 0).any(axis=tuple(i for i in range(weight.ndim) if i != axis))
    return found


def _unread(node: ir.Node) -> Flags | None:
    """Which channels of a layer's output nobody reads; None where that cannot be told."""
    written = _written(node)
    if written is None:
        return None
    reached, read = {written}, None
    waiting = [written]
    while waiting:
        place = waiting.pop()
        if place.value.is_graph_output():
            return None
        for use in place.value.uses():
            found = _read(use.node) if use.idx == 0 and use.node.graph is node.graph else None
            if found is not None:
                if place.axis != _axis_of_channels(use.node, place.value):
                    return None
                channels: Flags = np.any(found.reshape(-1, place.entries), axis=1)
                read = channels if read is None else read | channels
            elif (new := _kept(use.node, use.idx, place)) is not None:
                waiting += [new] if new not in reached else []
                reached.add(new)
            else:
                return None
    return None if read is None else ~read


def _written(node: ir.Node) -> _Reached | None:
    """What a layer with constant weights writes."""
    if node.domain or node.op_type not in _LAYERS or constant(node.inputs[1]) is None:
        return None
    value = result_of(node)
    if node.op_type == "MatMul" and (_read(node) is None or value.shape is None):
        return None
    return _Reached(value, _axis_of_channels(node, value))


def _axis_of_channels(layer: ir.Node, value: ir.Value) -> int:
    """The axis that channels lie along in what a layer reads or writes, -1 where that is not known."""
    if layer.op_type != "MatMul":
        return 1
    return -1 if value.shape is None else len(value.shape) - 1


def _kept(node: ir.Node, position: int, place: _Reached) -> _Reached | None:
    """Where a node writes the channels, each from itself alone; None where it mixes them."""
    if node.domain or node.graph is not place.value.graph:
        return None
    new, given = node.outputs[0], place.value.shape
    if node.op_type in _RESHAPES and position == 0:
        return _reshaped(place, new)
    same = place.axis == 1 and place.entries == 1
    if node.op_type == "Conv":
        kept = same and position == 0 and has_own_channels(node)
    elif node.op_type in _POOLS:
        kept = same and not any(v.uses() or v.is_graph_output() for v in node.outputs[1:])
    elif node.op_type in _ACTIVATIONS:
        kept = position == 0
    else:
        kept = node.op_type in _BY_ELEMENT and given is not None and given == new.shape
    return replace(place, value=new) if kept else None


def _reshaped(place: _Reached, new: ir.Value) -> _Reached | None:
    """Where a Flatten or Reshape writes the channels: with as many values behind the start of their axis."""
    if place.value.shape is None or new.shape is None:
        return None
    inside, after = _sizes(place.value.shape[place.axis :]), list(new.shape)
    for axis in range(len(after))[::-1]:
        rest = _sizes(after[axis:])
        if inside is None or rest is None or math.prod(rest) != math.prod(inside):
            continue
        if rest[0] == inside[0]:
            return replace(place, value=new, axis=axis)
        if len(rest) == 1:
            return _Reached(new, axis, place.entries * math.prod(inside[1:]))
    return None


def _sizes(dimensions: Sequence[int | ir.SymbolicDim]) -> list[int] | None:
    """Dimensions as numbers, where all are known."""
    sizes = [size for size in dimensions if isinstance(size, int)]
    return sizes if len(sizes) == len(dimensions) else None


def _empty(graph: ir.Graph, node: ir.Node, unread: Flags) -> bool:
    """Give a layer weights and a bias without what it writes to unread channels."""
    by_column = node.op_type != "Conv" and not node.attributes.get_int("transB", 0)
    add = bias_add(node)
    places = [(node, position) for position in range(1, len(node.inputs))]
    changed = False
    for owner, position in [*places, (add, 1)] if add is not None else places:
        value = owner.inputs[position]
        array = constant(value)
        if value is None or array is None:
            continue
        axis = array.ndim - 1 if owner is add or position > 1 or by_column else 0
        if array.ndim == 0 or array.shape[axis] != len(unread):
            continue
        array = np.moveaxis(array.copy(), axis, 0)
        array[unread] = 0
        name = f"{value.name}_read"
        owner.replace_input_with(position, add_initializer(graph, name, np.moveaxis(array, 0, axis)))
        changed = True
    return changed
