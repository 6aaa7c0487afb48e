"""What formats need to know of the user's network: names of nodes and tensors, and what carries what."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import onnx
import onnx_ir as ir

from distq.exchange.table import Entry, WeightScales, with_range
from distq.graph.layers import Layer, compute_layer
from distq.graph.load import load_model
from distq.graph.read import Reader, read_onnx
from distq.graph.values import constant
from distq.quant.scheme import largest_magnitudes, weight_scale
from distq.targets.operators import AVERAGES, LAYERS, PASS_THROUGH

_SATURATING = frozenset({"Relu", "Clip"})
_RANGES = {"Sigmoid": (0.0, 1.0), "HardSigmoid": (0.0, 1.0), "Softmax": (0.0, 1.0), "Tanh": (-1.0, 1.0)}
"""Operators whose values lie in a range of their own."""

_SAME = frozenset({"Identity", "Dropout"}) | PASS_THROUGH
"""Operators whose first output has the values of their first input, or some of them."""


@dataclass(frozen=True)
class Node:
    """A node of the network: constants are not among its inputs."""

    name: str
    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True)
class WeightedNode:
    """A node with weights.

    Attributes:
        name: of the node.
        layer: of the layer that distq makes of it: one without a name is called by what it writes, which is
            another tensor where something was folded into it.
        op: its type.
        input: the tensor it reads.
        output: the tensor it writes, that of a BatchNormalization folded into it.
        weight: the user's initializer.
        bias: the same, or None.
        scales: of the weight that distq quantizes: with BatchNormalization folded in.
        axis: the output channel's axis of the user's weight; None: one scale.
        own_output: the tensor it writes in the user's file.
        groups: of a convolution.
        channels: that it writes.
    """

    name: str
    layer: str
    op: str
    input: str
    output: str
    weight: str
    bias: str | None
    scales: tuple[float, ...]
    axis: int | None
    own_output: str
    groups: int
    channels: int

    @property
    def folded(self) -> bool:
        """Whether something was folded into its weight, which the user's initializer is without."""
        return self.own_output != self.output


@dataclass(frozen=True)
class Network:
    """The user's network: what its file says, and the weights that distq makes of it.

    ``parameters`` are its initializers; ``weighted`` is empty where weights were not asked for. ``layers`` is
    that of :class:`distq.graph.read.ReadModel`.
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    nodes: tuple[Node, ...]
    weighted: tuple[WeightedNode, ...]
    parameters: frozenset[str] = frozenset()
    layers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @cached_property
    def producer(self) -> Mapping[str, Node]:
        """What writes each tensor."""
        return {tensor: node for node in self.nodes for tensor in node.outputs}

    @cached_property
    def node(self) -> Mapping[str, Node]:
        """Nodes by name."""
        return {node.name: node for node in self.nodes}

    @property
    def own_nodes(self) -> tuple[Node, ...]:
        """Nodes that stand for a layer of the user's file; of an ONNX file all."""
        return tuple(node for node in self.nodes if not self.layers or node.name in self.layers)

    def own_outputs(self, node: Node) -> tuple[str, ...]:
        """What a node writes, in the words of the user's file."""
        return self.layers.get(node.name, node.outputs)

    def blob(self, tensor: str) -> str:
        """What a tensor is called in the user's file: layers that change a blob in place write one name."""
        node = self.producer.get(tensor)
        names = () if node is None else zip(node.outputs, self.own_outputs(node), strict=False)
        return next((name for written, name in names if written == tensor), tensor)

    @cached_property
    def tensors(self) -> tuple[str, ...]:
        """Inputs, then what nodes write, in order."""
        return (*self.inputs, *(tensor for node in self.nodes for tensor in node.outputs))

    @cached_property
    def _readers(self) -> Mapping[str, list[Node]]:
        found: dict[str, list[Node]] = {}
        for node in self.nodes:
            for tensor in node.inputs:
                found.setdefault(tensor, []).append(node)
        return found

    @cached_property
    def sizes(self) -> frozenset[str]:
        """Tensors that are shapes, or computed from shapes alone."""
        found: set[str] = set()
        for node in self.nodes:
            if node.op == "Shape" or (node.inputs and found.issuperset(node.inputs)):
                found.update(node.outputs)
        return frozenset(found)

    def carriers(self, tensor: str) -> Iterator[str]:
        """The tensor, and those whose quantizer could be its own, the nearest first.

        Behind it: what a lone Relu, Clip or an operator that only passes values on makes of it. Before it:
        what such an operator makes it of.
        """
        yield tensor
        found = tensor
        while len(readers := self._readers.get(found, [])) == 1 and found not in self.outputs:
            (reader,) = readers
            if reader.op not in _SAME | _SATURATING or reader.inputs[0] != found:
                break
            found = reader.outputs[0]
            yield found
        found = tensor
        while (node := self.producer.get(found)) is not None and node.op in _SAME and node.inputs:
            found = node.inputs[0]
            yield found

    def in_float(self, node: WeightedNode, modes: Mapping[str, str]) -> bool:
        """Whether a layer, which is called by what it writes or by the activation behind, stays in float."""
        return any(tensor in modes for tensor in self.carriers(node.output))

    def folded(self) -> dict[str, str]:
        """What nodes that become one layer write together, by the name of each."""
        found = {}
        for layer in self.weighted:
            tensor, found[layer.name] = layer.own_output, layer.output
            while tensor != layer.output and (readers := self._readers.get(tensor)):
                found[readers[0].name] = layer.output
                tensor = readers[0].outputs[0]
        return found

    @cached_property
    def normalized(self) -> Mapping[str, str]:
        """What BatchNormalization makes of what a layer alone writes, by the latter: tools fold it in.

        Some then go on calling the tensor as the layer did.
        """
        found = {}
        for node in self.nodes:
            source = self.producer.get(node.inputs[0]) if node.op == "BatchNormalization" else None
            alone = source is not None and source.op in LAYERS and len(self._readers[node.inputs[0]]) == 1
            if alone and node.inputs[0] not in self.outputs:
                found[node.inputs[0]] = node.outputs[0]
        return found

    def before(self, tensor: str) -> Iterator[str]:
        """What Relu, Clip and operators that only pass values on make a tensor of, the nearest first."""
        while (node := self.producer.get(tensor)) is not None and node.op in _SAME | _SATURATING:
            if not node.inputs:
                return
            tensor = node.inputs[0]
            yield tensor

    def entries(self, table: Mapping[str, Entry]) -> dict[str, Entry]:
        """The entry of every tensor that has one or whose carrier has, in graph order."""
        found = {}
        for tensor in self.tensors:
            entry = next((table[t] for t in self.carriers(tensor) if t in table), None)
            if entry is not None:
                found[tensor] = entry
        return found

    def bounded(self, entries: Mapping[str, Entry]) -> dict[str, Entry]:
        """The entries, and those of tensors whose range follows: averages, Sigmoid and its kind."""
        found = dict(entries)
        for node in self.nodes:
            tensor = node.outputs[0] if node.outputs else ""
            source = found.get(node.inputs[0]) if node.inputs else None
            if tensor in found:
                continue
            if node.op in _RANGES:
                found[tensor] = with_range(1.0, *_RANGES[node.op])
            elif node.op in AVERAGES | _SAME | _SATURATING and source is not None:
                found[tensor] = source
        return found

    def weights(self, given: Mapping[str, WeightScales]) -> dict[str, WeightScales]:
        """Scales of every weight by node: those given, else of the largest magnitudes."""
        return {w.name: given.get(w.name, WeightScales(w.scales)) for w in self.weighted}


def describe(path: Path, *, weights: bool = True, read: Reader = read_onnx) -> Network:
    """Read a network for its names and, if wanted, its weights.

    Args:
        path: of its file.
        weights: whether they are wanted.
        read: reads the file.

    Raises:
        ModelError: it cannot be read.
    """
    found = read(path)
    proto = found.proto.graph
    graph = onnx.GraphProto(node=proto.node, input=proto.input, output=proto.output)  # loading changes proto
    constants = {t.name for t in proto.initializer} | {
        output for node in graph.node if node.op_type == "Constant" for output in node.output
    }
    nodes = tuple(
        Node(
            _name_of(node),
            node.op_type,
            tuple(name for name in node.input if name and name not in constants),
            tuple(name for name in node.output if name),
        )
        for node in graph.node
        if node.op_type != "Constant"
    )
    # weights that nobody reads are in the user's network, and so in tables for it
    loaded = load_model(path, read=lambda _: found, without=("EmptyUnread",)) if weights else None
    weighted = () if loaded is None else tuple(_weighted(loaded.model, graph))
    return Network(
        tuple(value.name for value in graph.input if value.name not in constants),
        tuple(value.name for value in graph.output),
        nodes,
        weighted,
        frozenset(constants),
        found.layers,
    )


def _name_of(node: onnx.NodeProto) -> str:
    """A node's name; one without is called as :class:`distq.graph.passes.tidy.NameNodes` does."""
    return node.name or f"{node.op_type}_{node.output[0] if node.output else ''}"


def _own_node(
    layer: Layer, named: Mapping[str, onnx.NodeProto], producer: Mapping[str, onnx.NodeProto]
) -> onnx.NodeProto | None:
    """The user's node of a layer: of its name, else what its tensor is made by, BatchNormalization behind."""
    node = named.get(layer.node) or producer.get(layer.output)
    while node is not None and node.op_type not in LAYERS:
        node = producer.get(node.input[0]) if node.input else None
    return node


def _weighted(model: ir.Model, graph: onnx.GraphProto) -> Iterator[WeightedNode]:
    named = {node.name: node for node in graph.node if node.name}
    producer = {output: node for node in graph.node for output in node.output}
    for node in model.graph:
        layer = compute_layer(node)
        if not isinstance(layer, Layer) or layer.weight is None:
            continue
        own = _own_node(layer, named, producer)
        weight = constant(node.inputs[1])
        if own is None or weight is None or len(own.input) < 2:
            continue
        scales = weight_scale(largest_magnitudes(weight, layer.axis))
        axis = layer.axis
        if own.op_type == "Gemm" and axis is not None:
            axis = 0 if any(a.name == "transB" and a.i for a in own.attribute) else 1
        elif own.op_type == "MatMul" and axis is not None:
            axis = 1
        yield WeightedNode(
            name=layer.node if own.name else _name_of(own),
            layer=layer.node,
            op=own.op_type,
            input=layer.inputs[0],
            output=layer.output,
            weight=own.input[1],
            bias=own.input[2] if len(own.input) > 2 and own.input[2] else None,
            scales=tuple(float(s) for s in scales.reshape(-1)),
            axis=axis,
            own_output=own.output[0],
            groups=node.attributes.get_int("group", 1),
            channels=int(scales.size),
        )
