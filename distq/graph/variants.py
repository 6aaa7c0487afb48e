"""The quantized network with some of it back in float, to see what each part costs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
import onnx

from distq.graph.layers import Layer
from distq.graph.plan import Plan
from distq.targets.operators import SWISHES


@dataclass(frozen=True)
class FloatPart:
    """What of an exported network is put back in float.

    Attributes:
        integers: integer tensors; readers get the float tensor instead.
        layers: layers that get their float weights and biases back.
        float_inputs: whether these layers also read float tensors that other layers read quantized.
        biases: other biases, (channels,), by the node that reads them as its last input; they become float32.
    """

    integers: tuple[str, ...] = ()
    layers: tuple[Layer, ...] = ()
    float_inputs: bool = True
    biases: Mapping[str, npt.NDArray[np.float64]] = field(default_factory=dict)


def separable(plan: Plan) -> Plan:
    """The plan whose export :func:`put_back` takes: no Relu or Clip is implied, HardSwish is whole."""
    kernels = plan.target.kernels - SWISHES
    return replace(plan, dropped=frozenset(), target=replace(plan.target, kernels=kernels))


def put_back(exported: onnx.ModelProto, original: onnx.ModelProto, part: FloatPart) -> bytes:
    """A copy of an exported network with a part of it in float.

    Args:
        exported: a QDQ network, of a :func:`separable` plan.
        original: the float network it was made from.
        part: what is float.
    """
    model = onnx.ModelProto()
    model.CopyFrom(exported)
    graph = model.graph
    source = {n.output[0]: n.input[0] for n in graph.node if n.op_type == "QuantizeLinear"}
    behind: dict[str, str] = {}
    for node in graph.node:
        if node.op_type == "DequantizeLinear" and node.input[0] in source:
            start = behind[node.output[0]] = source[node.input[0]]
            if node.input[0] in part.integers:
                node.CopyFrom(onnx.helper.make_node("Identity", [start], node.output, name=node.name))
    constants = {t.name: t for t in original.graph.initializer}
    have = {t.name for t in graph.initializer}
    layers = {layer.node: layer for layer in part.layers}
    behind_products = {layer.add: layer.bias for layer in part.layers if layer.add is not None}
    for node in graph.node:
        if node.name in part.biases:
            bias = part.biases[node.name].astype(np.float32)
            graph.initializer.append(onnx.numpy_helper.from_array(bias, f"{node.name}_other_bias"))
            node.input[-1] = f"{node.name}_other_bias"
        names = [behind_products.get(node.name)]
        layer = layers.get(node.name)
        if layer is not None:
            if part.float_inputs:
                node.input[:] = [behind.get(name, name) for name in node.input]
            if layer.weight is not None:
                names = [layer.weight, layer.bias if layer.add is None else None]
        own = [name for name in names if name is not None]
        if own:
            node.input[:] = [node.input[0], *own]
            new = set(own) - have
            graph.initializer.extend(constants[name] for name in sorted(new))
            have |= new
    return bytes(model.SerializeToString())
