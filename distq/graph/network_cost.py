"""What a quantized network costs beside one in INT8 alone: the work that it does in float or with 16 bits."""

from __future__ import annotations

import math
from dataclasses import dataclass

import onnx_ir as ir

from distq.graph.layers import Layer, compute_layer
from distq.graph.plan import Plan
from distq.graph.values import constant


@dataclass(frozen=True)
class NetworkCost:
    """The layers that do not run on 8-bit integers.

    Attributes:
        float_layers: names of those in float.
        wide_layers: names of those that read or write 16-bit activations.
        macs: their share of the network's multiplications, 0 to 1.
    """

    float_layers: tuple[str, ...]
    wide_layers: tuple[str, ...]
    macs: float

    @property
    def layers(self) -> int:
        """How many they are."""
        return len(self.float_layers) + len(self.wide_layers)


def network_cost(model: ir.Model, plan: Plan) -> NetworkCost:
    """The cost of a network with this plan; float counts like 16 bits."""
    quantized = {layer.node for layer in plan.layers}
    wide = {tensor for q in plan.quantizers if q.bits == 16 for tensor in q.tensors}
    work, in_float, in_16_bits = {}, [], []
    for node in model.graph:
        layer = compute_layer(node)
        if not isinstance(layer, Layer):
            continue
        work[layer.name] = multiplications(model, layer)
        if layer.node not in quantized:
            in_float.append(layer.name)
        elif not wide.isdisjoint(_near(plan, layer)):
            in_16_bits.append(layer.name)
    total = math.fsum(work.values())
    share = math.fsum(work[name] for name in (*in_float, *in_16_bits)) / total if total else 0.0
    return NetworkCost(tuple(in_float), tuple(in_16_bits), share)


def multiplications(model: ir.Model, layer: Layer) -> int:
    """Of one sample through a layer; a dimension that the model leaves open counts as 1."""
    node = model.graph.node(layer.node)
    read, written = _sizes(node.inputs[0]), _sizes(node.outputs[0])
    weight = constant(node.inputs[1])
    if weight is None:  # a product of two activations
        return math.prod(written) * (read[-1] if read else 1)
    if layer.op == "ConvTranspose":  # each input value meets the weights of its channel
        return int(math.prod(read) * weight.size // max(1, weight.shape[0]))
    channels = weight.shape[layer.axis] if layer.axis is not None else 1
    return int(math.prod(written) * weight.size // max(1, channels))


def _near(plan: Plan, layer: Layer) -> set[str]:
    """The tensors whose width a layer works with."""
    near = set(layer.inputs)
    return near | {layer.name, layer.output} if plan.target.placement == "everywhere" else near


def _sizes(value: ir.Value | None) -> list[int]:
    shape = None if value is None else value.shape
    return [] if shape is None else [size if isinstance(size, int) and size > 0 else 1 for size in shape]
