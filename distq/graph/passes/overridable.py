"""Initializers that are inputs too: defaults that a caller may replace."""

from __future__ import annotations

import onnx_ir as ir

from distq.targets.operators import LAYERS

PASSES = frozenset({"Cast", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"})
"""Operators between an initializer and the layer whose weight it is."""


class FixWeights(ir.passes.InPlacePass):
    """Make a constant of each weight and bias that is an input with a default: integers stand for it.

    * Other inputs with a default keep it, and can still be replaced.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrite the list of inputs."""
        inputs = [v for v in model.graph.inputs if not (v.is_initializer() and _is_weight(v))]
        fixed = len(model.graph.inputs) > len(inputs)
        model.graph.inputs.clear()
        model.graph.inputs.extend(inputs)
        return ir.passes.PassResult(model, fixed)


def _is_weight(value: ir.Value) -> bool:
    for node, position in value.uses():
        if node.domain:
            continue
        if node.op_type in LAYERS | {"BatchNormalization"} and (position > 0 or node.op_type == "MatMul"):
            return True
        if node.op_type in PASSES and position == 0 and _is_weight(node.outputs[0]):
            return True
    return False
