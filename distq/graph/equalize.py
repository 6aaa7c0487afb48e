"""Scale channels of tensors, each by its own factor, without changing what the network computes.

Dividing a channel by a factor where it is written, and multiplying the weights that read it, is cross-layer
equalization (Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction", ICCV
2019). Here it also goes through sums, whose inputs then share their factors, and across activations that pass
no factor on, where a multiplication stays in the network. ``quant.channel_factors`` chooses the factors.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from distq.graph.edits import add_initializer
from distq.graph.equalize_rows import divide_rows, site_of_rows
from distq.graph.equalize_values import divide_columns, sites_of_values
from distq.graph.layers import clip_bounds, connects
from distq.graph.neighbours import depends_on_neighbours
from distq.graph.plan import Plan
from distq.graph.site import Site, site_of
from distq.graph.values import constant, is_float, names_in

PASS_FACTORS = frozenset({"Relu", "LeakyRelu", "MaxPool", "AveragePool", "GlobalAveragePool", "Resize"})
"""Operators that give back a channel's positive factor unchanged."""

Floats = npt.NDArray[np.float64]


def sites(model: ir.Model, plan: Plan) -> tuple[Site, ...]:
    """What can be scaled, in graph order.

    A tensor for which the user set something, or whose channels have a scale each, stays as it is.

    Where quantizers stand everywhere, a multiplication is inserted only behind nodes that run in float
    anyway: it would part an integer kernel from its quantizer elsewhere.
    """
    floats = dict(plan.float_nodes)
    found = [*(_through(group, plan) for group in _groups(model.graph)), *sites_of_values(model.graph, plan)]
    for node in model.graph:
        apart = plan.target.placement == "layer inputs" or _runs_in_float(node, plan, floats)
        found += [_inserted(value, plan) for value in node.outputs if apart]
        found += [site_of_rows(value, plan, apart=apart) for value in node.outputs]
    taken = {tensor for q in plan.quantizers if q.setting or q.channels for tensor in q.tensors}
    kept = []
    for site in found:
        if site is not None and taken.isdisjoint(site.tensors):
            kept.append(site)
            taken.update(site.tensors)
    order = {v.name: i for i, v in enumerate(v for node in model.graph for v in node.outputs)}
    return tuple(sorted(kept, key=lambda site: order[site.tensors[0]]))


def reader_weight(model: ir.Model, site: Site, reader: str) -> Floats:
    """What a reader multiplies: (outputs, channels, kernel), or (channels, outputs a channel, kernel)."""
    node = model.graph.node(reader)
    weight = constant(node.inputs[1])
    if weight is None:
        return np.zeros((1, 1, 1))
    weight = weight.astype(np.float64)
    if node.op_type == "MatMul":
        return weight.T[:, :, None]
    if node.op_type == "Gemm":
        return (weight if node.attributes.get_int("transB", 0) else weight.T)[:, :, None]
    if site.depthwise:
        return weight.reshape(node.attributes.get_int("group", 1), -1, int(np.prod(weight.shape[2:])))
    return weight.reshape(*weight.shape[:2], -1)


def equalized(model: ir.Model, scales: Mapping[Site, Floats]) -> ir.Model:
    """A copy of the network with channels divided by their factors; it computes the same up to rounding.

    Only a Clip between writers and readers now ends a channel at its bound times the channel's factor.
    """
    copy = model.clone()
    values = {v.name: v for node in copy.graph for v in node.outputs}
    taken = names_in(copy.graph)
    for site, scale in scales.items():
        if not site.writers:
            _insert(copy.graph, values[site.tensors[0]], site, scale, taken)
        for name in site.writers:
            _divide(copy.graph, copy.graph.node(name), site, scale, taken)
        for name in site.readers:
            _multiply_inputs(copy.graph, copy.graph.node(name), scale, taken)
    _drop_replaced(copy.graph)
    copy.graph.sort()
    return copy


def _drop_replaced(graph: ir.Graph) -> None:
    """Remove weights and biases that nothing reads any more."""
    for name, value in list(graph.initializers.items()):
        if not value.uses() and not value.is_graph_input() and not value.is_graph_output():
            del graph.initializers[name]


def _groups(graph: ir.Graph) -> list[list[ir.Value]]:
    """Values that must share their factors, because operators between them pass these on."""
    parent: dict[ir.Value, ir.Value] = {}

    def root(value: ir.Value) -> ir.Value:
        parent.setdefault(value, value)
        while parent[value] is not value:
            value = parent[value]
        return value

    for node in graph:
        for value in node.outputs:
            root(value)
        if (passed := _passes(node)) is not None:
            for value in passed[0]:
                parent[root(value)] = root(node.outputs[0])
    members: dict[ir.Value, list[ir.Value]] = {}
    for value in parent:
        members.setdefault(root(value), []).append(value)
    return list(members.values())


def _passes(node: ir.Node) -> tuple[list[ir.Value], float] | None:
    """The inputs whose factors a node's output must have, and the bound it sets; None: it passes none on."""
    inputs = [v for v in node.inputs if v is not None]
    if node.domain or not inputs:
        return None
    bounds = clip_bounds(node)
    if node.op_type == "Clip":
        return (inputs[:1], bounds[1]) if bounds is not None and bounds[0] == 0.0 else None
    same = _channels(inputs[0]) is not None and _channels(inputs[0]) == _channels(node.outputs[0])
    flattens = node.op_type in {"Reshape", "Flatten", "Squeeze"} and _is_flat(inputs[0])
    if node.op_type in PASS_FACTORS or (flattens and same):
        return inputs[:1], float("inf")
    if node.op_type == "Add" and same and _channels(inputs[1]) == _channels(inputs[0]):
        return (inputs, float("inf")) if all(constant(v) is None for v in inputs) else None
    return None


def _channels(value: ir.Value) -> int | None:
    shape = value.shape
    return shape[1] if shape is not None and len(shape) in {2, 4} and isinstance(shape[1], int) else None


def _is_flat(value: ir.Value) -> bool:
    """Whether a value has one number a channel."""
    return value.shape is not None and all(d == 1 for d in value.shape[2:])


def _through(group: list[ir.Value], plan: Plan) -> Site | None:
    """The site of values that only layers with constant weights write and read."""
    inside = set(group)
    writers: list[ir.Node] = []
    readers: list[ir.Node] = []
    bound = float("inf")
    for value in group:
        node = value.producer()
        if node is None or value.is_graph_output() or not is_float(value):
            return None
        passed = _passes(node)
        if passed is None:
            if not _takes_inverse(node):
                return None
            writers.append(node)
        else:
            bound = min(bound, passed[1])
        for use in value.uses():
            if _passes(use.node) is not None and use.node.outputs[0] in inside:
                continue
            if not _takes_factors(use.node, use.idx, value):
                return None
            readers.append(use.node)
    tensors = tuple(v.name or "" for v in group if v.name in plan.by_tensor)
    return site_of(tensors, readers, writers, bound)


def _inserted(value: ir.Value, plan: Plan) -> Site | None:
    """The site of a value behind which a multiplication can stand."""
    if not is_float(value) or value.is_graph_output() or value.name not in plan.by_tensor:
        return None
    readers = [use.node for use in value.uses() if _takes_factors(use.node, use.idx, value)]
    if len(readers) < len(value.uses()):
        return None
    return site_of((value.name,), readers, [], float("inf"))


def _takes_factors(node: ir.Node, position: int, value: ir.Value) -> bool:
    """Whether a node is a layer whose constant weights can take the factors of this input's channels."""
    if node.graph is not value.graph:
        return False
    weight = constant(node.inputs[1]) if node.op_type in {"Conv", "Gemm"} and position == 0 else None
    if weight is None or weight.dtype != np.float32 or node.domain or _channels(value) is None:
        return False
    if node.op_type == "Gemm":
        return not node.attributes.get_int("transA", 0)
    return node.attributes.get_int("group", 1) in {1, _channels(value)}


def _takes_inverse(node: ir.Node) -> bool:
    """Whether a node is a Conv whose constant weights and bias can take the inverse."""
    if node.op_type != "Conv" or node.domain or constant(node.inputs[1]) is None:
        return False
    has_bias = len(node.inputs) > 2 and node.inputs[2] is not None
    return not has_bias or constant(node.inputs[2]) is not None


def _runs_in_float(node: ir.Node, plan: Plan, floats: Collection[str]) -> bool:
    if depends_on_neighbours(node):
        return node.outputs[0].name in floats
    carried = plan.target.layers | {"Relu", "Clip"}
    return connects(node, plan.target.kernels) is not None and node.op_type not in carried


def _insert(graph: ir.Graph, value: ir.Value, site: Site, scale: Floats, taken: set[str | None]) -> None:
    shape = (-1,) if site.rows else (1, -1, *[1] * (len(value.shape or ()) - 2))
    inverse = (1.0 / scale).astype(np.float32).reshape(shape)
    (name,) = site.quantized
    factor = add_initializer(graph, f"{value.name}_inverse_factors", inverse, taken)
    node = ir.node("Mul", [value, factor], name=name)
    out = node.outputs[0]
    out.name, out.shape, out.type = name, value.shape, value.type
    producer = value.producer()
    if producer is not None:
        graph.insert_after(producer, node)
    for reader in site.readers:
        graph.node(reader).replace_input_with(0, out)


def _divide(graph: ir.Graph, node: ir.Node, site: Site, scale: Floats, taken: set[str | None]) -> None:
    if site.columns:
        divide_columns(graph, node, site.columns, scale, taken)
    elif site.rows:
        divide_rows(graph, node, scale, taken)
    else:
        _divide_outputs(graph, node, scale, taken)


def _divide_outputs(graph: ir.Graph, node: ir.Node, scale: Floats, taken: set[str | None]) -> None:
    weight = constant(node.inputs[1])
    if weight is None:
        return
    name = node.outputs[0].name
    divided = weight / scale.reshape(-1, *[1] * (weight.ndim - 1))
    scaled = divided.astype(np.float32)
    node.replace_input_with(1, add_initializer(graph, f"{name}_equalized_weight", scaled, taken))
    bias = constant(node.inputs[2]) if len(node.inputs) > 2 else None
    if bias is not None:
        inverse = (bias / scale).astype(np.float32)
        node.replace_input_with(2, add_initializer(graph, f"{name}_equalized_bias", inverse, taken))


def _multiply_inputs(graph: ir.Graph, node: ir.Node, scale: Floats, taken: set[str | None]) -> None:
    weight = constant(node.inputs[1])
    if weight is None:
        return
    if node.op_type == "Gemm":
        shaped = scale if node.attributes.get_int("transB", 0) else scale[:, None]
    elif node.op_type == "MatMul":
        shaped = scale[:, None]
    elif node.attributes.get_int("group", 1) > 1:
        shaped = np.repeat(scale, weight.shape[0] // scale.size).reshape(-1, *[1] * (weight.ndim - 1))
    else:
        shaped = scale.reshape(1, -1, *[1] * (weight.ndim - 2))
    name = f"{node.outputs[0].name}_equalized_weight"
    node.replace_input_with(1, add_initializer(graph, name, (weight * shaped).astype(np.float32), taken))
