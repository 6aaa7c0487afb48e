"""The quantized network with some of it back in float, to see what each part costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
import onnx

from distq.graph.layers import Layer
from distq.graph.plan import Plan
from distq.graph.subgraph import captured_names
from distq.graph.subpixel import without_subpixels
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
    """The plan whose export :func:`put_back` takes: no Relu or Clip is implied, every node is whole.

    Scales by channel are those of quantizers, without factors in weights.
    """
    kernels = plan.target.kernels - SWISHES
    plan = without_subpixels(plan)
    return replace(plan, dropped=frozenset(), gates=(), target=replace(plan.target, kernels=kernels))


def put_back(exported: onnx.ModelProto, original: onnx.ModelProto, part: FloatPart) -> bytes:
    """A copy of an exported network with a part of it in float, without what nothing reads any more.

    Args:
        exported: a QDQ network, of a :func:`separable` plan.
        original: the float network it was made from.
        part: what is float.
    """
    given = exported.graph
    read = _read_with(given.node, part)
    used = {value.name for value in given.output}
    kept = []
    for node, inputs in zip(reversed(given.node), reversed(read), strict=True):
        if not used.isdisjoint(node.output):
            used.update((*inputs, *captured_names(node)))
            kept.append((node, inputs))
    model = onnx.ModelProto(
        ir_version=exported.ir_version, opset_import=exported.opset_import, functions=exported.functions
    )
    graph = model.graph
    graph.name = given.name
    graph.input.extend(given.input)
    graph.output.extend(given.output)
    constants = {t.name: t for t in (*original.graph.initializer, *given.initializer)}
    for node, inputs in reversed(kept):
        if len(inputs) == 1 < len(node.input):  # dequantizes no more
            graph.node.append(onnx.helper.make_node("Identity", inputs, node.output, name=node.name))
            continue
        graph.node.append(node)
        graph.node[-1].input[:] = inputs
        if node.name in part.biases:
            bias = part.biases[node.name].astype(np.float32)
            constants[inputs[-1]] = onnx.numpy_helper.from_array(bias, inputs[-1])
    graph.initializer.extend(constants[name] for name in sorted(used & constants.keys()))
    return bytes(model.SerializeToString())


def _read_with(nodes: Sequence[onnx.NodeProto], part: FloatPart) -> list[list[str]]:
    """What each node of an exported network reads: without a quantizer the float tensor alone."""
    source = {n.output[0]: n.input[0] for n in nodes if n.op_type == "QuantizeLinear"}
    behind = {
        n.output[0]: source[n.input[0]]
        for n in nodes
        if n.op_type == "DequantizeLinear" and n.input[0] in source
    }
    layers = {layer.node: layer for layer in part.layers}
    behind_products = {layer.add: layer.bias for layer in part.layers if layer.add is not None}
    found = []
    for node in nodes:
        inputs = [*node.input]
        if node.op_type == "DequantizeLinear" and node.output[0] in behind and inputs[0] in part.integers:
            inputs = [behind[node.output[0]]]
        if node.name in part.biases:
            inputs[-1] = f"{node.name}_other_bias"
        own = [behind_products.get(node.name)]
        layer = layers.get(node.name)
        if layer is not None:
            if part.float_inputs:
                inputs = [behind.get(name, name) for name in inputs]
            if layer.weight is not None:
                own = [layer.weight, layer.bias if layer.add is None else None]
        floats = [name for name in own if name is not None]
        found.append([inputs[0], *floats] if floats else inputs)
    return found
