"""How long a network is predicted to take in INT8 and in float, by the shapes of what its nodes compute."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from distq.graph.layers import float_name, gates, saturating_follower
from distq.graph.linear import bias_add
from distq.graph.network_cost import multiplications
from distq.graph.values import constant, is_float
from distq.targets.operators import LAYERS

if TYPE_CHECKING:
    import onnx_ir as ir

    from distq.graph.plan import Plan
    from distq.targets.times import FormTimes, KernelTimes

_FREE = frozenset({"Relu", "Clip", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity"})
"""Operators that are part of the kernel before them, or move nothing."""


@dataclass(frozen=True)
class Predicted:
    """Microseconds of one forward on one thread: of the network with its plan, and in float."""

    int8: float
    in_float: float


def predicted(model: ir.Model, plan: Plan) -> Predicted | None:
    """What a forward takes; None where nobody has measured the target's kernels.

    Args:
        model: the float network; sizes that it leaves open count as 1.
        plan: for it.
    """
    times = plan.target.times
    if times is None:
        return None
    integer = _on_integers(model.graph, plan)
    int8 = in_float = 0.0
    for node in model.graph:
        if any(map(is_float, node.outputs)):
            in_float += time_of(node, times.in_float, times)
            int8 += time_of(node, times.int8 if node in integer else times.in_float, times)
    owners = plan.by_tensor
    values = [*model.graph.inputs, *(v for node in model.graph for v in node.outputs)]
    for value in values:
        if value.name in owners:
            int8 += _between(value, integer, times)
    return Predicted(int8, in_float)


def is_thin(node: ir.Node, few: int) -> bool:
    """Whether a Conv makes each value that it writes of few channels: a first one, or a depthwise one."""
    weight = constant(node.inputs[1]) if node.op_type == "Conv" and not node.domain else None
    return weight is not None and weight.ndim > 1 and weight.shape[1] <= few


def _on_integers(graph: ir.Graph, plan: Plan) -> set[ir.Node]:
    layers, floats = {layer.node for layer in plan.layers}, dict(plan.float_nodes)
    found: set[ir.Node] = set()
    for node in graph:
        if node.name in layers:
            found |= {n for n in (node, bias_add(node), saturating_follower(node)) if n is not None}
        elif node.op_type not in LAYERS and float_name(node) not in floats:
            found.add(node)
    return found


def grouped_positions(node: ir.Node) -> int:
    """How often a grouped Conv multiplies the matrix of one group; 0 of others, also of a depthwise one.

    ONNX Runtime's kernels go through the groups one by one, so that each is a small matrix.
    """
    weight = constant(node.inputs[1]) if node.op_type == "Conv" and not node.domain else None
    groups = 1 if weight is None else node.attributes.get_int("group", 1)
    if weight is None or groups == 1 or weight.shape[1] == 1:
        return 0
    return int(groups * _count(node.outputs[0]) // weight.shape[0])


def time_of(node: ir.Node, form: FormTimes, times: KernelTimes) -> float:
    """Microseconds of a node in one of the forms."""
    if node.op_type in LAYERS and not node.domain:
        million = multiplications(node) / 1e6
        products = million * (form.thin if is_thin(node, times.few) else form.dense)
        return form.start + products + grouped_positions(node) / 1e3 * form.group
    if node.domain or node.op_type in _FREE or (form is times.in_float and gates(node)):
        return 0.0
    return form.start + _count(node.outputs[0]) / 1e3 * form.value


def _between(value: ir.Value, integer: set[ir.Node], times: KernelTimes) -> float:
    """What it takes to bring a quantized tensor from one form into the other."""
    if value.producer() not in integer:
        return time_to_enter(value, times.int8)
    if value.is_graph_output() or any(use.node not in integer for use in value.uses()):
        return time_to_enter(value, times.in_float)
    return 0.0


def time_to_enter(value: ir.Value, form: FormTimes) -> float:
    """Microseconds that it takes to bring a tensor into a form from the other one."""
    return form.start + _count(value) / 1e3 * form.entered


def _count(value: ir.Value) -> int:
    if value.shape is None:
        return 1
    return math.prod(size if isinstance(size, int) and size > 0 else 1 for size in value.shape)
