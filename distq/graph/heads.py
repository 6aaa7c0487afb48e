"""What a network's outputs are put together from: each part is measured on a scale of its own.

A detector packs boxes, objectness and classes into one output. The power of that output is the boxes' alone,
so an error that loses every object hardly shows in it. Normalized by its own power each part counts the same,
and what a Sigmoid has let through is mostly power of the few places that hold an object.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass

import onnx
import onnx_ir as ir

from distq.graph.compared import feeding_outputs
from distq.graph.layers import Layer
from distq.graph.plan import Plan
from distq.graph.roles import leading
from distq.graph.subgraph import captured_names
from distq.graph.values import constant, is_float, only_reader

REARRANGES = frozenset({"Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze"})
"""Operators that put the same values in another order."""


@dataclass(frozen=True)
class Place:
    """Where a tensor is read: by an input of a node, or as an output of the network.

    A place stays what it is when a model is exported; the tensor that is read there may get another name.

    Attributes:
        node: name of the node that reads; None: the network's output.
        position: which input, or which output of the network; behind the inputs come values that the graphs
            inside the node capture.
    """

    node: str | None
    position: int


def parts(model: ir.Model, plan: Plan) -> tuple[Place, ...]:
    """The places of all parts of the network outputs, in their order; empty where no output is put together.

    Concat and what rearranges are undone as far as the post-processing behind the last layers goes.
    """
    tail = _post_processing(model, plan)
    instead = feeding_outputs(model)
    found = []
    for position, value in enumerate(model.graph.outputs):
        if position in instead:
            found += [Place(node.name, i) for node, i in instead[position]]
        else:
            found += _parts_of(value, tail) or [Place(None, position)]
    flat = tuple(dict.fromkeys(found))
    return () if flat == _outputs(model) else flat


def reported(model: ir.Model, *, indices: bool = True) -> tuple[Place, ...]:
    """The places that reports compare; empty where these are the outputs.

    An output whose shape depends on the data is compared in front of what makes its shape, and one that holds
    indices by what these were chosen from, unless a measure that the user named is to see them.
    """
    instead = feeding_outputs(model, indices=indices)
    found: dict[Place, None] = {}
    for place in _outputs(model):
        places = [Place(node.name, i) for node, i in instead.get(place.position, ())]
        found |= dict.fromkeys(places if place.position in instead else [place])
    return () if tuple(found) == _outputs(model) else tuple(found)


def _outputs(model: ir.Model) -> tuple[Place, ...]:
    return tuple(Place(None, position) for position in range(len(model.graph.outputs)))


def squashed(model: ir.Model, plan: Plan) -> tuple[tuple[Layer, Place], ...]:
    """Layers that only a Sigmoid of the post-processing squashes, and where their outputs are read.

    What puts several such outputs together on the way, and takes them apart again, is looked through.
    """
    layers, tail = {layer.output: layer for layer in plan.layers}, _post_processing(model, plan)
    found: dict[str, tuple[Layer, Place]] = {}
    for node in tail:
        value = node.inputs[0] if node.op_type == "Sigmoid" else None
        if value is None or only_reader(value) is not node:
            continue
        for source in _joined(value, None, layers):
            layer, reader = layers.get(source.name or ""), only_reader(source)
            if layer is not None and reader is not None:
                position = next(use.idx for use in source.uses())
                found[layer.name] = (layer, Place(reader.name, position))
    return tuple(found.values())


def with_places(data: bytes, places: Sequence[Place]) -> bytes:
    """A model, exported or float, with the tensors read at these places as outputs; as it is without any."""
    if not places:
        return data
    model = onnx.load_model_from_string(data)
    outputs = [value.name for value in model.graph.output]
    inputs = {node.name: [*node.input, *captured_names(node)] for node in model.graph.node}
    names = [(outputs if p.node is None else inputs[p.node])[p.position] for p in places]
    return with_tensors(model, names)


def with_tensors(model: onnx.ModelProto, names: Iterable[str]) -> bytes:
    """A model with these tensors as outputs; it is changed in place."""
    known = {value.name: value for value in model.graph.output}
    del model.graph.output[:]
    model.graph.output.extend(
        known.get(name) or onnx.helper.make_empty_tensor_value_info(name) for name in dict.fromkeys(names)
    )
    return bytes(model.SerializeToString(deterministic=True))


def _post_processing(model: ir.Model, plan: Plan) -> list[ir.Node]:
    """Nodes that no layer depends on, in graph order, layers left out."""
    nodes, compute = list(model.graph), {layer.node for layer in plan.layers}
    layers = [node for node in nodes if node.name in compute]
    ahead = leading(nodes, layers)
    return [node for node in nodes if node not in ahead and node.name not in compute]


def _parts_of(value: ir.Value, tail: Sequence[ir.Node]) -> list[Place]:
    """Places of the parts a value is put together from; empty where it is no Concat, however rearranged."""
    node = value.producer()
    if node is None or node not in tail or node.domain:
        return []
    if node.op_type in REARRANGES and node.inputs[0] is not None:
        return _parts_of(node.inputs[0], tail)
    if node.op_type != "Concat":
        return []
    found = []
    for position, part in enumerate(node.inputs):
        if part is not None and is_float(part) and constant(part) is None:
            found += _parts_of(part, tail) or [Place(node.name, position)]
    return found


Channels = tuple[int, int] | None
"""From one channel to another, of the second axis; None: all."""


def _joined(value: ir.Value, channels: Channels, outputs: Container[str]) -> list[ir.Value]:
    """Outputs that were put together for these channels of a value; those in several pieces are left out."""
    node, size = value.producer(), _channels(value)
    if value.name in outputs:
        return [value] if channels in {None, (0, size)} else []
    if node is None or node.domain or size is None or node.inputs[0] is None:
        return []
    axis = node.attributes.get_int("axis", 0)
    if node.op_type in {"Reshape", "Flatten"} and _channels(node.inputs[0]) == size:
        return _joined(node.inputs[0], channels, outputs)
    if node.op_type == "Split" and axis == 1:
        start = sum(_channels(v) or 0 for v in node.outputs[: node.outputs.index(value)])
        low, high = channels or (0, size)
        return _joined(node.inputs[0], (start + low, start + high), outputs)
    if node.op_type != "Concat":
        return []
    inside = None if axis == 1 else channels
    pieces = _within(node, channels) if axis == 1 else node.inputs
    return [v for part in pieces if part is not None for v in _joined(part, inside, outputs)]


def _within(concat: ir.Node, channels: Channels) -> Iterator[ir.Value]:
    """Inputs that lie wholly within these channels of what a Concat writes."""
    start = 0
    for part in concat.inputs:
        end = start + ((_channels(part) if part is not None else None) or 0)
        if part is not None and (channels is None or (channels[0] <= start and end <= channels[1])):
            yield part
        start = end


def _channels(value: ir.Value) -> int | None:
    shape = value.shape
    size = None if shape is None or len(shape) < 2 else shape[1]
    return size if isinstance(size, int) else None
