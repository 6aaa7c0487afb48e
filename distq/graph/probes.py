"""Variants of the float network that show what is inside it: tensors to observe, means of layers."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np
import onnx_ir as ir
import onnx_ir.passes.common as common_passes

from distq.errors import ModelError
from distq.graph.edits import add_initializer, free_name
from distq.graph.large import serialized
from distq.graph.layers import Layer
from distq.graph.plan import Plan
from distq.graph.qdq import quantized_model
from distq.graph.state import State, float_weight, has_bias
from distq.graph.values import names_in, reads


def with_outputs(model: ir.Model, tensors: Collection[str]) -> bytes:
    """The float network with exactly these tensors as outputs; network inputs among them are left out.

    Where nothing is left, it keeps its own outputs: ONNX Runtime loads no network without any.
    """
    copy = model.clone()
    values = {v.name: v for node in copy.graph for v in node.outputs}
    wanted = [values[name] for name in tensors if name in values]
    if wanted:
        _set_outputs(copy, wanted)
    return serialized(copy, deterministic=True)


def with_means(model: ir.Model, layers: Sequence[Layer]) -> bytes:
    """The float network with each layer's mean over batch and positions, (channels,), as outputs."""
    copy = model.clone()
    nodes, taken = {node.name: node for node in copy.graph}, names_in(copy.graph)
    means = [_mean(copy, nodes[layer.add or layer.node], _axes(model, layer), taken) for layer in layers]
    _set_outputs(copy, means)
    return serialized(copy, deterministic=True)


def with_shifts(model: ir.Model, plan: Plan, state: State, layers: Sequence[Layer]) -> bytes:
    """The quantized network; its outputs say how rounding each layer's input moves its mean output.

    Each is the mean, (channels,), of the layer without bias, applied to what rounding took from its input.
    """
    copy = quantized_model(model, replace(plan, gates=()), state)
    nodes, taken = {node.name: node for node in copy.graph}, names_in(copy.graph)
    means = []
    for layer in layers:
        node = nodes[layer.node]
        rounded, weight = node.inputs[:2]
        dequantize = rounded.producer() if rounded is not None else None
        quantize = dequantize.inputs[0].producer() if dequantize and dequantize.inputs[0] else None
        if quantize is None:
            raise ModelError(f"{layer.name} reads no quantized tensor")
        lost = ir.node("Sub", [quantize.inputs[0], rounded], name=f"{layer.node}_lost")
        lost.outputs[0].name = free_name(f"{layer.output}_lost", taken)
        again = ir.node(node.op_type, [lost.outputs[0], weight], node.attributes, name=f"{layer.node}_shift")
        again.outputs[0].name = free_name(f"{layer.output}_shift", taken)
        copy.graph.extend([lost, again])
        means.append(_mean(copy, again, _axes(model, layer), taken))
    _set_outputs(copy, means)
    return serialized(copy, deterministic=True)


def stages(model: ir.Model, plan: Plan, behind: Collection[str] | None = None) -> list[list[Layer]]:
    """Layers with a bias, in stages: a stage's inputs depend only on the layers of earlier stages.

    Args:
        model: the float network.
        plan: for it.
        behind: only layers that read one of these tensors, or what depends on one; None: all.
    """
    depth: dict[ir.Value, int] = {}
    reached = {v for v in model.graph.inputs if v.name in (behind or ())}
    layers = {layer.node: layer for layer in plan.layers}
    found: dict[int, list[Layer]] = {}
    for node in model.graph:
        inputs = reads(node)
        deepest = max((depth.get(v, 0) for v in inputs), default=0)
        concerned = behind is None or not reached.isdisjoint(inputs)
        layer = layers.get(node.name or "")
        if layer is not None and concerned:
            if has_bias(layer):
                found.setdefault(deepest, []).append(layer)
            deepest += 1
        for value in node.outputs:
            depth[value] = deepest
            if concerned or value.name in (behind or ()):
                reached.add(value)
    return [found[d] for d in sorted(found)]


def _axes(model: ir.Model, layer: Layer) -> list[int] | None:
    """All axes of a layer's output but the channels'; None: all but the last, of a tensor of any rank."""
    if layer.op == "MatMul":
        return None
    weight = float_weight(model, layer)
    return [axis for axis in range(2 if weight is None else weight.ndim) if axis != 1]


def _mean(model: ir.Model, node: ir.Node, axes: list[int] | None, taken: set[str | None]) -> ir.Value:
    """Append a mean over these axes; None: over all rows of a tensor, whatever its rank."""
    if axes is None:
        node, axes = _rows(model, node, taken), [0]
    if model.opset_imports[""] >= 18:
        name = f"{node.outputs[0].name}_mean_axes"
        value = add_initializer(model.graph, name, np.array(axes, np.int64), taken)
        mean = ir.node("ReduceMean", [node.outputs[0], value], {"keepdims": 0})
    else:
        mean = ir.node("ReduceMean", [node.outputs[0]], {"axes": axes, "keepdims": 0})
    mean.outputs[0].name = free_name(f"{node.outputs[0].name}_mean", taken)
    mean.outputs[0].type = ir.TensorType(ir.DataType.FLOAT)
    mean.name = f"{node.name}_mean"
    model.graph.append(mean)
    return mean.outputs[0]


def _rows(model: ir.Model, node: ir.Node, taken: set[str | None]) -> ir.Node:
    """Append a Flatten to a matrix of all rows of a node's output."""
    rows = ir.node("Flatten", [node.outputs[0]], {"axis": -1}, name=f"{node.name}_rows")
    rows.outputs[0].name = free_name(f"{node.outputs[0].name}_rows", taken)
    model.graph.append(rows)
    return rows


def _set_outputs(model: ir.Model, values: Sequence[ir.Value]) -> None:
    model.graph.outputs.clear()
    model.graph.outputs.extend(values)
    common_passes.RemoveUnusedNodesPass()(model)
    model.graph.sort()
