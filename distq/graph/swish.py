"""HardSwish on integers: an Add and a Mul, which have integer kernels where HardSwish has none.

HardSwish(x) = x * clip(x + 3, 0, 6) / 6 (ONNX operators, HardSwish-14). The quantizer behind the Add ends at
0 and 6, so it clips; read with a sixth of its scale, it divides.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from distq.graph.edits import register
from distq.graph.gate import SHIFT, WIDTH
from distq.graph.layers import float_name
from distq.graph.names import Names
from distq.graph.plan import Plan
from distq.targets.operators import SWISHES

_STEPS = 255


def write_swishes(graph: ir.Graph, plan: Plan, names: Names) -> None:
    """Write every HardSwish so that the target carries and that reads and writes 8 bits.

    The Mul has the name and the output of the node; quantizers are still to be put around both.
    """
    floats, owners = dict(plan.float_nodes), plan.by_tensor
    for node in list(graph):
        if node.domain or node.op_type not in plan.target.kernels & SWISHES or float_name(node) in floats:
            continue
        around = [owners.get(v.name or "") for v in (*node.inputs, *node.outputs) if v is not None]
        if all(quantizer is not None and quantizer.bits == 8 for quantizer in around):
            _write(graph, node, names.swish(node.outputs[0].name or ""))


def _write(graph: ir.Graph, node: ir.Node, stem: str) -> None:
    zero = register(graph, f"{stem}_zero_point", np.array(0, np.uint8))
    whole = register(graph, f"{stem}_quantized", np.array(_STEPS, np.uint8))
    scales = {"three": SHIFT, "six": WIDTH, "one": 1.0}
    three, six, one = (
        register(graph, f"{stem}_{name}_scale", np.array(value / _STEPS, np.float32))
        for name, value in scales.items()
    )
    shift = _node("DequantizeLinear", [whole, three, zero], f"{stem}_shift")
    added = _node("Add", [node.inputs[0], shift.outputs[0]], f"{stem}_sum")
    clipped = _node("QuantizeLinear", [added.outputs[0], six, zero], f"{stem}_clip")
    gate = _node("DequantizeLinear", [clipped.outputs[0], one, zero], f"{stem}_gate")
    graph.insert_before(node, [shift, added, clipped, gate])
    node.op_type = "Mul"
    node.resize_inputs(2)
    node.replace_input_with(1, gate.outputs[0])


def _node(op: str, inputs: list[ir.Value | None], name: str) -> ir.Node:
    node = ir.node(op, inputs, name=name)
    node.outputs[0].name = f"{name}_value"
    return node
