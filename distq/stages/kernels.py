"""Which layers of an exported model run on integers in ONNX Runtime, and why the others do not."""

from __future__ import annotations

from collections.abc import Iterator

import onnx

from distq.graph.layers import Layer
from distq.graph.plan import Plan
from distq.replica.session import fuse
from distq.replica.worker import WorkerSettings
from distq.run.results import FloatLayer


def integer_kernels(model: bytes) -> dict[str, str]:
    """Operator type of each node ONNX Runtime runs on CPU for a QDQ model, by node name."""
    fused = onnx.load_model_from_string(fuse(model, WorkerSettings()))
    return {node.name: node.op_type for node in fused.graph.node}


def float_layers(plan: Plan, exported: bytes) -> Iterator[FloatLayer]:
    """Nodes the plan leaves in float, and layers without integer kernel in ONNX Runtime, with reasons."""
    for name, reason in plan.float_nodes:
        yield FloatLayer(name=name, reason=reason)
    if not plan.target.fused_kernels:
        return
    kernels = integer_kernels(exported)
    for layer in plan.layers:
        if kernels.get(layer.node) not in plan.target.fused_kernels:
            yield FloatLayer(name=layer.name, reason=_why(layer, plan))


def _why(layer: Layer, plan: Plan) -> str:
    if layer.op == "ConvTranspose":
        return "ConvTranspose has no integer kernel in ONNX Runtime: int8 weights, computed in float"
    tensors = plan.by_tensor
    wide = [t for t in (*layer.inputs, layer.name) if t in tensors and tensors[t].bits == 16]
    if wide:
        return f"{wide[0]} has 16 bits, and ONNX Runtime no kernel for it: int8 weights, computed in float"
    return (
        f"ONNX Runtime did not fuse this {layer.op} into an integer kernel: int8 weights, computed in float"
    )
