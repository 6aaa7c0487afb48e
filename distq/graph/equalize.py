"""Scale channels of a tensor, each by its own factor, without changing what the network computes.

One quantizer serves all channels of a tensor, so narrow channels beside wide ones get few steps. Dividing a
channel by a factor
before the quantizer, and multiplying the weights that read it, evens them out: cross-layer equalization
    (Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction", ICCV 2019), here
    also across activations that do not pass a factor on, where a multiplication stays in the network.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from distq.config import Target
from distq.graph.layers import COMPUTE, connects
from distq.graph.values import add_initializer, constant, is_float, only_reader

PASS_FACTORS = frozenset({"Relu", "LeakyRelu", "MaxPool", "AveragePool", "GlobalAveragePool", "Resize"})
"""Operators that give back a channel's positive factor unchanged."""

SMALLEST_FACTOR = 2.0**-10
"""A channel that hardly ever moves is not blown up further: noise would become its signal."""

EVENED = 0.75
"""How far channels are evened out, 1 being all the way, in decibels of width.

The rest is room for values wider than those seen, which a channel that fills its range would clip.
"""

EQUALIZED = "_equalized"
"""Ending of a tensor that an inserted multiplication writes."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Site:
    """A tensor whose channels can be scaled.

    Attributes:
        tensor: its name.
        readers: nodes of the Conv layers whose weights take the factors.
        depthwise: whether each reads one channel for each output; its own weight scale then absorbs the
            factor.
        producer: node of the layer whose outputs take the inverse; None: a multiplication is inserted.
    """

    tensor: str
    readers: tuple[str, ...]
    depthwise: bool
    producer: str | None


def sites(model: ir.Model, target: Target) -> tuple[Site, ...]:
    """Tensors with four dimensions that only Conv layers with constant weights read.

    With target ``ort`` a multiplication is inserted only behind nodes that run in float anyway: it would part
    an integer kernel from its quantizer elsewhere.
    """
    found = []
    for node in model.graph:
        for value in node.outputs:
            readers = _conv_readers(value)
            if not readers:
                continue
            producer = _scalable_producer(value)
            if producer is None and target == "ort" and connects(node) is None:
                continue
            if (
                producer is None
                and target == "ort"
                and node.op_type in {"Conv", "ConvTranspose", "Gemm", "Relu", "Clip"}
            ):
                continue
            depthwise = all(r.attributes.get_int("group", 1) > 1 for r in readers)
            names = tuple(r.name or "" for r in readers)
            found.append(
                Site(value.name or "", names, depthwise, producer.name if producer is not None else None)
            )
    return tuple(found)


def factors(model: ir.Model, site: Site, low: Floats, high: Floats) -> Floats:
    """Factor of each channel, (channels,), at most 1: what the channel is divided by.

    Depthwise readers take any factor at no cost, so only widths count. Other readers share a weight scale
    between channels, so width and weight meet halfway: the square root of width over weight counts. The
    factor is that to the power of ``EVENED``.

    Args:
        model: the float network.
        site: the tensor.
        low: smallest value observed of each channel, (channels,).
        high: largest value observed of each channel, (channels,).
    """
    width = np.maximum(high, 0.0) - np.minimum(low, 0.0)
    ratio = width / max(float(width.max()), np.finfo(np.float64).tiny)
    if not site.depthwise:
        share = np.zeros_like(width)
        for name in site.readers:
            weight = constant(model.graph.node(name).inputs[1])
            if weight is not None:
                magnitude = np.abs(weight.astype(np.float64)).reshape(*weight.shape[:2], -1).max(axis=2)
                rows = np.maximum(magnitude.max(axis=1, keepdims=True), np.finfo(np.float64).tiny)
                share = np.maximum(share, (magnitude / rows).max(axis=0))
        ratio = np.sqrt(ratio / np.maximum(share, SMALLEST_FACTOR))
        ratio /= max(float(ratio.max()), np.finfo(np.float64).tiny)
    return np.where(width > 0, np.maximum(ratio**EVENED, SMALLEST_FACTOR), 1.0)


def equalized(model: ir.Model, scales: Mapping[Site, Floats]) -> ir.Model:
    """A copy of the network with channels divided by their factors; it computes the same up to rounding."""
    copy = ir.from_proto(ir.to_proto(model))
    values = {v.name: v for node in copy.graph for v in node.outputs}
    for site, scale in scales.items():
        if site.producer is None:
            _insert(copy.graph, values[site.tensor], site, scale)
        else:
            _divide_outputs(copy.graph, copy.graph.node(site.producer), scale)
        for name in site.readers:
            _multiply_inputs(copy.graph, copy.graph.node(name), scale)
    copy.graph.sort()
    return copy


def _is_integer(node: ir.Node) -> bool:
    """Whether a node is, or ends, an integer kernel in ONNX Runtime."""
    return node.op_type in COMPUTE | {"Relu", "Clip"} or connects(node) is None


def _conv_readers(value: ir.Value) -> list[ir.Node]:
    """The Conv layers that read a value, or none where anything else does."""
    shape = value.shape
    if not is_float(value) or value.is_graph_output() or shape is None or len(shape) != 4:
        return []
    if not isinstance(shape[1], int):
        return []
    readers = []
    for use in value.uses():
        weight = constant(use.node.inputs[1]) if use.node.op_type == "Conv" and use.idx == 0 else None
        if (
            weight is None
            or weight.dtype != np.float32
            or use.node.attributes.get_int("group", 1) not in {1, shape[1]}
        ):
            return []
        readers.append(use.node)
    return readers


def _scalable_producer(value: ir.Value) -> ir.Node | None:
    """The Conv whose weights can take the inverse, reached through operators that pass factors on."""
    node = value.producer()
    while node is not None and node.op_type in PASS_FACTORS and node.inputs[0] is not None:
        source = node.inputs[0]
        if only_reader(source) is not node:
            return None
        node = source.producer()
    if node is None or node.op_type != "Conv" or constant(node.inputs[1]) is None:
        return None
    has_bias = len(node.inputs) > 2 and node.inputs[2] is not None
    return None if has_bias and constant(node.inputs[2]) is None else node


def _insert(graph: ir.Graph, value: ir.Value, site: Site, scale: Floats) -> None:
    inverse = (1.0 / scale).astype(np.float32).reshape(1, -1, 1, 1)
    factor = add_initializer(graph, f"{site.tensor}_inverse_factors", inverse)
    node = ir.node("Mul", [value, factor], name=f"{site.tensor}{EQUALIZED}")
    out = node.outputs[0]
    out.name, out.shape, out.type = f"{site.tensor}{EQUALIZED}", value.shape, value.type
    producer = value.producer()
    if producer is not None:
        graph.insert_after(producer, node)
    for name in site.readers:
        graph.node(name).replace_input_with(0, out)


def _divide_outputs(graph: ir.Graph, node: ir.Node, scale: Floats) -> None:
    weight = constant(node.inputs[1])
    if weight is None:
        return
    name = node.outputs[0].name
    divided = weight / scale.reshape(-1, *[1] * (weight.ndim - 1))
    node.replace_input_with(1, add_initializer(graph, f"{name}_equalized_weight", divided.astype(np.float32)))
    bias = constant(node.inputs[2]) if len(node.inputs) > 2 else None
    if bias is not None:
        inverse = (bias / scale).astype(np.float32)
        node.replace_input_with(2, add_initializer(graph, f"{name}_equalized_bias", inverse))


def _multiply_inputs(graph: ir.Graph, node: ir.Node, scale: Floats) -> None:
    weight = constant(node.inputs[1])
    if weight is None:
        return
    depthwise = node.attributes.get_int("group", 1) > 1
    outputs = weight.shape[0] // scale.size if depthwise else 1
    shaped = np.repeat(scale, outputs).reshape(-1, 1, 1, 1) if depthwise else scale.reshape(1, -1, 1, 1)
    name = f"{node.outputs[0].name}_equalized_weight"
    node.replace_input_with(1, add_initializer(graph, name, (weight * shaped).astype(np.float32)))
