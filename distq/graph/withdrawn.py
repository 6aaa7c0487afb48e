"""Write out operators whose meaning changed from one opset to another, or whose shapes onnx cannot infer."""

from __future__ import annotations

from collections.abc import Callable

import onnx
from onnx.helper import make_node

from distq.graph.read import graphs_in

Rewrite = Callable[[onnx.NodeProto], list[onnx.NodeProto]]
"""The nodes that take the place of a node; the node itself where none have to."""


def rewritten(model: onnx.ModelProto, rewrite: Rewrite) -> onnx.ModelProto:
    """A copy of the model with each node rewritten, also inside subgraphs; the given one if none is."""
    if not any(rewrite(node) != [node] for graph in graphs_in(model) for node in graph.node):
        return model
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for graph in graphs_in(copy):
        nodes = [new for node in graph.node for new in rewrite(node)]
        del graph.node[:]
        graph.node.extend(nodes)
    return copy


def flat_hardmax(node: onnx.NodeProto) -> list[onnx.NodeProto]:
    """Hardmax before opset 13: it flattens its input to a matrix before ``axis``, which is 1 by default."""
    if node.op_type != "Hardmax" or node.domain:
        return [node]
    (data,), (out,) = node.input, node.output
    axis = next((a.i for a in node.attribute if a.name == "axis"), 1)
    shape, flat, largest = (f"{out}_hardmax_{part}" for part in ("shape", "flat", "largest"))
    return [
        make_node("Shape", [data], [shape]),
        make_node("Flatten", [data], [flat], axis=axis),
        make_node("Hardmax", [flat], [largest], name=node.name, axis=1),
        make_node("Reshape", [largest, shape], [out]),
    ]


def grouped_normalization(node: onnx.NodeProto) -> list[onnx.NodeProto]:
    """GroupNormalization of opsets 18 to 20, which was withdrawn: its scale and bias are a group's.

    A group is then a channel of InstanceNormalization.
    """
    if node.op_type != "GroupNormalization" or node.domain:
        return [node]
    (data, scale, bias), (out,) = node.input, node.output
    given = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    shape, grouping, groups, normal = (
        f"{out}_groups_{part}" for part in ("shape", "grouping", "in", "normal")
    )
    sizes = onnx.helper.make_tensor("sizes", onnx.TensorProto.INT64, [3], [0, given["num_groups"], -1])
    epsilon = given.get("epsilon", 1e-5)
    return [
        make_node("Shape", [data], [shape]),
        make_node("Constant", [], [grouping], value=sizes),
        make_node("Reshape", [data, grouping], [groups]),
        make_node("InstanceNormalization", [groups, scale, bias], [normal], name=node.name, epsilon=epsilon),
        make_node("Reshape", [normal, shape], [out]),
    ]


def mean_variance_normalization(node: onnx.NodeProto, opset: int) -> list[onnx.NodeProto]:
    """MeanVarianceNormalization: onnx fails to infer shapes through its definition, in every opset."""
    if node.op_type != "MeanVarianceNormalization" or node.domain:
        return [node]
    (data,), (out,) = node.input, node.output
    axes = next((list(a.ints) for a in node.attribute if a.name == "axes"), [0, 2, 3])
    mean, centred, squares, variance, deviation, least, divisor = (
        f"{out}_normal_{part}"
        for part in ("mean", "centred", "squares", "variance", "deviation", "least", "divisor")
    )
    tiny = onnx.helper.make_tensor("tiny", onnx.TensorProto.FLOAT, [], [1e-9])
    return [
        *_mean(data, mean, axes, opset),
        make_node("Sub", [data, mean], [centred], name=node.name),
        make_node("Mul", [centred, centred], [squares]),
        *_mean(squares, variance, axes, opset),
        make_node("Sqrt", [variance], [deviation]),
        make_node("Constant", [], [least], value=tiny),
        make_node("Add", [deviation, least], [divisor]),
        make_node("Div", [centred, divisor], [out]),
    ]


def _mean(data: str, out: str, axes: list[int], opset: int) -> list[onnx.NodeProto]:
    if opset < 18:
        return [make_node("ReduceMean", [data], [out], axes=axes, keepdims=1)]
    along = onnx.helper.make_tensor("axes", onnx.TensorProto.INT64, [len(axes)], axes)
    return [
        make_node("Constant", [], [f"{out}_axes"], value=along),
        make_node("ReduceMean", [data, f"{out}_axes"], [out], keepdims=1),
    ]
