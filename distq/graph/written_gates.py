"""Nodes of SiLU and HardSwish whose channels have scales of their own (:mod:`distq.graph.channel_gates`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import onnx_ir as ir

from distq.graph.gate import ChannelGate
from distq.graph.names import PARTS, Names
from distq.graph.plan import Plan
from distq.targets.operators import SWISHES


def write_gates(graph: ir.Graph, plan: Plan, names: Names, constant: Callable[[str], ir.Value]) -> None:
    """Put a convolution with the factors and a quantizer in front of each Sigmoid and HardSwish of the plan.

    A Sigmoid reads them in place of its input. A HardSwish becomes a Mul of its input and of what they give:
    the convolution also adds 3, and the quantizer ends at 0 and 6. Quantizers of the plan's tensors are still
    to be put around both.

    Args:
        graph: gets the nodes.
        plan: has the gates.
        names: of the model.
        constant: gives a constant of the network by its name.
    """
    nodes = {node.name or "": node for node in graph} if plan.gates else {}
    for gate in (gate for gate in plan.gates if gate.readers):
        _write(graph, nodes[gate.node], gate, names.gate(gate.data), constant)


def _write(
    graph: ir.Graph, node: ir.Node, gate: ChannelGate, stem: str, constant: Callable[[str], ir.Value]
) -> None:
    hard = gate.op in SWISHES

    def insert(op: str, inputs: Sequence[ir.Value | None], name: str, **attributes: int) -> ir.Value:
        made = ir.node(op, inputs, attributes, name=f"{name}_{op.lower()}")
        made.outputs[0].name = name
        graph.insert_before(node, made)
        return made.outputs[0]

    def dequantized(name: str) -> ir.Value:
        parts = [constant(f"{name}_{part}") for part in PARTS]
        return insert("DequantizeLinear", parts, f"{name}_dequantized", axis=0)

    factors = f"{stem}_factors"
    read = [node.inputs[0], dequantized(factors), *([dequantized(f"{factors}_bias")] if hard else [])]
    scale, zero_point = constant(f"{stem}_gate_scale"), constant(f"{stem}_gate_zero_point")
    channels = constant(f"{factors}_quantized").const_value
    value = insert(
        "Conv", read, f"{factors}_value", group=1 if channels is None else channels.numpy().shape[0]
    )
    quantized = insert("QuantizeLinear", [value, scale, zero_point], f"{stem}_gate_quantized")
    scale = constant(f"{stem}_gate_read_scale") if hard else scale
    given = insert("DequantizeLinear", [quantized, scale, zero_point], f"{stem}_gate_dequantized")
    if hard:
        node.op_type = "Mul"
        node.resize_inputs(2)
        node.replace_input_with(1, given)
    else:
        node.replace_input_with(0, given)
