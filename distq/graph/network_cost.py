"""What a quantized network costs beside one in INT8 alone: the work that it does in float or with 16 bits."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from distq.graph.layers import Layer, layer_name
from distq.targets.operators import LAYERS

if TYPE_CHECKING:
    import onnx_ir as ir

    from distq.graph.plan import Plan

LEAST_MULTIPLICATIONS = 100_000
"""With fewer, starting kernels is what takes the time."""


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
    quantized = {layer.node: layer for layer in plan.layers}
    wide = {tensor for q in plan.quantizers if q.bits == 16 for tensor in q.tensors}
    in_float, in_16_bits, paid = [], [], []
    parts = shares(model)
    for node in model.graph:
        layer = quantized.get(node.name or "")
        if layer is None and node.name in parts:
            in_float.append(layer_name(node))
        elif layer is not None and not wide.isdisjoint(_near(plan, layer)):
            in_16_bits.append(layer.name)
        else:
            continue
        paid.append(parts[node.name or ""])
    return NetworkCost(tuple(in_float), tuple(in_16_bits), min(1.0, math.fsum(paid)))


def shares(model: ir.Model) -> dict[str, float]:
    """What part of the network's multiplications each compute node does, by node name."""
    found = {node.name or "": multiplications(node) for node in compute_nodes(model)}
    total = sum(found.values()) or 1
    return {name: count / total for name, count in found.items()}


LEAST_WORK = 10_000_000_000
"""Multiplications that are worth a work unit of their own."""


def images_of_a_unit(model: ir.Model) -> int:
    """The fewest images, 1 or more, with which a forward through each is worth a work unit of its own."""
    work = sum(map(multiplications, compute_nodes(model)))
    return max(1, round(LEAST_WORK / max(1, work)))


def compute_nodes(model: ir.Model) -> list[ir.Node]:
    """The nodes that multiply by weights, or tensors with each other."""
    return [node for node in model.graph if node.op_type in LAYERS and not node.domain]


def multiplications(node: ir.Node) -> int:
    """Products of a weight and a value in one forward through a compute node.

    A dimension that the model leaves open counts as 1; where no shape is known, each weight counts once.
    """
    read, weights, written = map(_sizes, (node.inputs[0], node.inputs[1], node.outputs[0]))
    if weights is None:
        return math.prod(written or [])
    if node.op_type == "ConvTranspose":  # each value that is read meets the weights of its channel
        met, each = read, math.prod(weights[1:])
    elif node.op_type == "Conv":  # each value that is written is a sum over these
        met, each = written, math.prod(weights[1:])
    else:
        across = node.op_type == "Gemm" and node.attributes.get_int("transB", 0) == 1
        met, each = written, weights[-1] if across or len(weights) < 2 else weights[-2]
    return math.prod(weights) if met is None else math.prod(met) * each


def _near(plan: Plan, layer: Layer) -> set[str]:
    """The tensors whose width a layer works with."""
    near = set(layer.inputs)
    return near | {layer.name, layer.output} if plan.target.placement == "everywhere" else near


def _sizes(value: ir.Value | None) -> list[int] | None:
    shape = None if value is None else value.shape
    return None if shape is None else [size if isinstance(size, int) and size > 0 else 1 for size in shape]
