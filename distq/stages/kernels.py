"""What runs on integers in the graph that ONNX Runtime makes of a model, and why the rest does not."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import onnx
import onnx_ir as ir

from distq.graph.layers import Layer, float_name, saturating_follower
from distq.graph.linear import bias_add, name_before
from distq.graph.network_cost import shares
from distq.graph.plan import Plan
from distq.graph.subgraph import Network
from distq.graph.values import is_float
from distq.replica.session import optimized
from distq.replica.worker import WorkerSettings
from distq.run.results import FloatLayer, IntegerKernels

INTEGERS = frozenset(onnx.TensorProto.DataType.Value(name) for name in ("UINT8", "INT8", "UINT16", "INT16"))
"""Element types of quantized tensors."""


def integer_kernels(model: bytes) -> dict[str, str]:
    """Operator type of each node ONNX Runtime runs on CPU for a QDQ model, by node name."""
    given = {node.name for node in onnx.load_model_from_string(model).graph.node}
    graph = onnx.load_model_from_string(optimized(model, WorkerSettings())).graph
    return {name_before(node.name, given): node.op_type for node in graph.node}


def float_layers(model: ir.Model, plan: Plan, exported: bytes) -> Iterator[FloatLayer]:
    """Nodes that run in float, each with its reason.

    For a target that ONNX Runtime runs, these are the nodes that its graph computes in float; otherwise those
    that the plan leaves in float. A Relu or Clip that has its layer's name is not told apart from the layer.

    Args:
        model: the float network.
        plan: for it.
        exported: the QDQ model of both.
    """
    if not plan.target.fused_kernels:
        yield from (FloatLayer(name=name, reason=reason) for name, reason in plan.float_nodes)
        return
    ran = _Ran(exported)
    layers = {layer.node: layer for layer in plan.layers}
    reasons, biases = dict(plan.float_nodes), {bias_add(node) for node in model.graph}
    others: list[FloatLayer] = []
    for node in model.graph:
        if node in biases:  # a part of its layer
            continue
        name = float_name(node)
        if name in reasons and node.name not in layers:
            if ran.in_float(node.name or ""):
                yield FloatLayer(name=name, reason=reasons.pop(name))
        elif (layer := layers.get(node.name or "")) is not None:
            if ran.operator(layer.node) not in plan.target.fused_kernels:
                others.append(FloatLayer(name=layer.name, reason=_why(layer, plan)))
        elif (
            node.op_type not in {"Relu", "Clip"}
            and is_float(node.outputs[0])
            and ran.in_float(node.name or "")
        ):
            others.append(FloatLayer(name=name, reason=_why_not(node, plan)))
    yield from others


def kernels_of_layers(model: ir.Model, plan: Plan, exported: bytes) -> IntegerKernels | None:
    """How many compute nodes run on integers, and their share of the multiplications.

    Args:
        model: the float network.
        plan: for it.
        exported: the QDQ model of both.

    Returns:
        None where ONNX Runtime does not run the target's models.
    """
    if not plan.target.fused_kernels:
        return None
    parts, ran = shares(model), integer_kernels(exported)
    integer = [part for node, part in parts.items() if ran.get(node) in plan.target.fused_kernels]
    return IntegerKernels(layers=len(integer), of=len(parts), multiplications=min(1.0, sum(integer)))


class _Ran:
    """The nodes of the graph that ONNX Runtime runs, found by those of the exported model."""

    def __init__(self, exported: bytes) -> None:
        self._written = Network(exported)
        self._ran = Network(optimized(exported, WorkerSettings()))
        self._given = {node.name: node for node in self._written.nodes}
        self._found = {name_before(node.name, self._given): node for node in self._ran.nodes}

    def operator(self, name: str) -> str | None:
        """The operator type of a node by its name, where it is there."""
        node = self._found.get(name)
        return None if node is None else node.op_type

    def in_float(self, name: str) -> bool:
        """Whether a node, or a kernel that it became a part of, writes something else than integers.

        A node that was taken out runs on nothing.
        """
        node = self._found.get(name) or self._merged(name)
        return node is not None and not self._writes_integers(node)

    def _writes_integers(self, node: onnx.NodeProto) -> bool:
        kind = self._ran.types[next(filter(None, node.output))]
        return node.op_type.startswith("QLinear") or kind.tensor_type.elem_type in INTEGERS

    def _merged(self, name: str) -> onnx.NodeProto | None:
        """The kernel that a node is a part of: it has its own name, and writes what the node leads to."""
        todo, seen = [name], set[str]()
        while todo:
            node = self._given.get(todo.pop())
            if node is None or node.name in seen or node.name in self._found:
                continue
            seen.add(node.name)
            for tensor in node.output:
                position = self._ran.producer.get(tensor)
                if position is None:
                    todo += [self._written.nodes[i].name for i in self._written.readers(tensor)]
                    continue
                kernel: onnx.NodeProto = self._ran.nodes[position]
                if kernel.name not in self._given:
                    return kernel
        return None


def _why(layer: Layer, plan: Plan) -> str:
    if layer.op == "ConvTranspose":
        return "ConvTranspose has no integer kernel in ONNX Runtime: int8 weights, computed in float"
    if (wide := _wide((*layer.inputs, layer.name), plan)) is not None:
        return f"{wide} has 16 bits, and ONNX Runtime no kernel for it: int8 weights, computed in float"
    return (
        f"ONNX Runtime did not fuse this {layer.op} into an integer kernel: int8 weights, computed in float"
    )


def _why_not(node: ir.Node, plan: Plan) -> str:
    """Why a node without weights that the plan puts between quantizers runs in float."""
    values = (*node.inputs, *node.outputs, *(saturating_follower(node) or node).outputs)
    tensors = [value.name or "" for value in values if value is not None]
    if (wide := _wide(tensors, plan)) is not None:
        return f"{wide} has 16 bits, and ONNX Runtime no kernel for it: computed in float"
    return f"ONNX Runtime has no integer kernel for this {node.op_type}: computed in float between quantizers"


def _wide(tensors: Iterable[str], plan: Plan) -> str | None:
    """The first of some tensors that has 16 bits."""
    owners = plan.by_tensor
    return next((t for t in tensors if t in owners and owners[t].bits == 16), None)
